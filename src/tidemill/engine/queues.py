"""Queues and kinds as operators see them: how much waits where, and what is paused.

A pause holds for the whole fleet from the next claim on; what runs goes on. Nothing has to be restarted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tidemill.engine.look import unknown
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

MOST_PER_PROCESS = 10_000


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue: its jobs by state.

    Attributes:
        oldest_ready_s: seconds since the enqueue of the ready job that was enqueued first; None when none is ready.
        per_process: jobs side by side that an operator set for each worker process; None = what it was started with.
        paused_at, paused_by: since when, and who paused it; None while it is open.
    """

    name: str
    ready: int
    delayed: int
    running: int
    dead: int
    oldest_ready_s: float | None
    per_process: int | None
    paused_at: datetime | None
    paused_by: str | None


@dataclass(frozen=True, slots=True)
class PausedKind:
    """A kind that is paused: since when, and by whom."""

    name: str
    paused_at: datetime
    paused_by: str


async def list_queues(db: Database) -> list[QueueLine]:
    """All queues, by name. Counts whole tables: for people, not for a tight loop."""
    return [QueueLine(**row) for row in await db.fetch(SQL.queue_list)]


async def paused_kinds(db: Database) -> list[PausedKind]:
    """The kinds that are paused, by name."""
    return [PausedKind(**row) for row in await db.fetch(SQL.kind_paused)]


async def pause_queue(db: Database, name: str, *, by: str) -> str:
    """Give out no more jobs of a queue; who paused it, which is whoever did so first.

    Raises:
        InvalidInput: there is no such queue, or ``by`` is empty.
    """
    return await _pause(db, SQL.queue_pause, "queue", name, by)


async def resume_queue(db: Database, name: str) -> None:
    """Give out jobs of a queue again; workers are woken.

    Raises:
        InvalidInput: there is no such queue.
    """
    await _resume(db, SQL.queue_resume, "queue", name)


async def scale_queue(db: Database, name: str, per_process: int | None) -> None:
    """Have every worker process run so many jobs of a queue side by side; None = as many as it was started with.

    Heeded within a second, without a restart. What runs beyond it ends by itself.

    Raises:
        InvalidInput: there is no such queue, or the number is out of range.
    """
    if per_process is not None and not 1 <= per_process <= MOST_PER_PROCESS:
        raise InvalidInput("per_process", f"{per_process!r} is not a whole number from 1 to {MOST_PER_PROCESS}")
    if await db.fetchval(SQL.queue_scale, name, per_process) is None:
        raise await unknown(db, "queue", name)


async def pause_kind(db: Database, name: str, *, by: str) -> str:
    """Give out no more jobs of a kind, from whatever queue; who paused it, which is whoever did so first.

    Raises:
        InvalidInput: there is no such kind, or ``by`` is empty.
    """
    return await _pause(db, SQL.kind_pause, "kind", name, by)


async def resume_kind(db: Database, name: str) -> None:
    """Give out jobs of a kind again; workers are woken.

    Raises:
        InvalidInput: there is no such kind.
    """
    await _resume(db, SQL.kind_resume, "kind", name)


async def _pause(db: Database, statement: str, field: str, name: str, by: str) -> str:
    if not by:
        raise InvalidInput("by", "is empty; say who pauses")
    paused_by: str | None = await db.fetchval(statement, name, by)
    if paused_by is None:
        raise await unknown(db, field, name)
    return paused_by


async def _resume(db: Database, statement: str, field: str, name: str) -> None:
    if await db.fetchval(statement, name) is None:
        raise await unknown(db, field, name)
