"""What a job looks like before it is enqueued and while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


# Structs, of which a process makes tens of thousands a second: a frozen dataclass takes ten times as long to make.
class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to enqueue.

    Attributes:
        kind: the name a handler is registered under.
        args: an instance of what the kind takes, or a mapping; checked when it is enqueued.
        key: unique key within the kind, held until the job's terminal state; None takes what the kind makes of the
            arguments.
        at: earliest start, by ``tidemill.now()``; excludes ``delay``.
        delay: seconds from now to the earliest start.
        priority: higher first; a point is worth one minute of waiting.
        tenant: opaque owner; None takes what the kind makes of the arguments.
        batch: the batch that counts the job.
        max_attempts: errors after which the job is dead; None takes the kind's.
        trace: the trace it belongs to, as a W3C traceparent; None takes that of the code that enqueues it.
    """

    kind: str
    args: Any = None
    key: str | None = None
    at: datetime | None = None
    delay: float | None = None
    priority: int = 0
    tenant: UUID | None = None
    batch: UUID | None = None
    max_attempts: int | None = None
    trace: str | None = None


class Job(msgspec.Struct, frozen=True):
    """A claimed job. ``(id, token, node)`` is the fence of all that is written on its behalf."""

    id: int
    token: int
    node: int
    kind: str
    attempt: int
    crashes: int
    max_attempts: int
    tenant: UUID | None
    batch: UUID | None
    args: dict[str, Any]
    place: tuple[int, int] | None = None
    """Where the claim put the lease row (its ctid), if it said so."""
    lane: int = 0
    """Below zero for a job under a limit of the fleet, whose end makes room."""
    trace: str | None = None
    """The trace it belongs to, as a W3C traceparent."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A job that ends without its handler: dead, poisoned, or left over at its batch's deadline.

    Attributes:
        outcome: ``dead``, ``skipped`` or ``cancelled``.
        reason: ``poison``, ``deadline``, ``cancelled`` or the last error's text.
    """

    job: Job
    outcome: str
    reason: str
