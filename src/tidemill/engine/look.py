"""Looking at jobs: which there are in a state, and where one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.logging import redact
from tidemill.postgres import Connection, Database, Record

T = TypeVar("T")

State = Literal["ready", "delayed", "running", "dead", "ended"]

MOST_LISTED = 1000
"""Jobs of one page."""
MOST_ATTEMPTS = 200
"""Attempts told of one job, the latest."""
_NAMES_TOLD = 20
_NOT_AS_IT_IS = frozenset({"args", "reason", "done", "total", "note", "said_at"})
_STATEMENTS: Mapping[State, str] = {
    "ready": SQL.look_ready,
    "delayed": SQL.look_delayed,
    "running": SQL.look_running,
    "dead": SQL.look_dead,
    "ended": SQL.look_ended,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are meant; what is left out means any.

    Attributes:
        kind, queue: by name.
        tenant: the job's owner.
        reason: a text within the last error, in whatever case; jobs that have not ended have none.
        since: the earliest instant: of the enqueue for jobs to cancel, of the death for dead ones, and in a listing of
            what its column ``at`` shows.
    """

    kind: str | None = None
    queue: str | None = None
    tenant: UUID | None = None
    reason: str | None = None
    since: datetime | None = None

    async def resolved(self, conn: Connection | Database) -> Resolved:
        """The ints behind the names.

        Raises:
            InvalidInput: there is no kind or queue of that name, or ``since`` has no time zone.
        """
        if self.since is not None and self.since.tzinfo is None:
            raise InvalidInput("since", "needs a time zone, e.g. 2026-11-22T06:00Z")
        row = cast(Record, await conn.fetchrow(SQL.look_names, self.kind, self.queue))
        for field, name in (("kind", self.kind), ("queue", self.queue)):
            if name is not None and row[field] is None:
                raise await unknown(conn, field, name)
        return Resolved(row["kind"], row["queue"], row["now"])


@dataclass(frozen=True, slots=True)
class Resolved:
    """The ints of a filter's kind and queue, None where any is meant; ``now`` is when they were asked for."""

    kind: int | None
    queue: int | None
    now: datetime


async def unknown(conn: Connection | Database, field: str, name: str) -> InvalidInput:
    """What to raise for a kind or queue that does not exist; the text names those that do."""
    rows = await conn.fetch(SQL.queue_names, field == "kind", _NAMES_TOLD)
    known = ", ".join(row["name"] for row in rows) or "none yet"
    return InvalidInput(field, f"there is no {field} {name!r}; known: {known}")


@dataclass(frozen=True, slots=True)
class Told:
    """How far a running job says it has got: ``done`` of ``total`` in units of its own. The note is redacted."""

    done: int
    total: int | None
    note: str | None
    said_at: datetime


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job in a listing.

    Attributes:
        at: of a ready job its enqueue, of a delayed one when it becomes ready, of a running one its claim, of a dead
            one its death, of an ended one its end.
        max_attempts: None for ended jobs, of which it is not kept.
        outcome, reason: how it ended, and why; redacted. None while it lives.
        progress: what it says of itself while it runs, if anything.
    """

    id: int
    state: State
    kind: str
    queue: str
    tenant: UUID | None
    batch: UUID | None
    attempt: int
    max_attempts: int | None
    at: datetime
    outcome: str | None
    reason: str | None
    progress: Told | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing; ``next`` is what the following part is asked for ``after``, None at the end."""

    jobs: list[JobLine]
    next: str | None


async def list_jobs(
    db: Database, state: State, where: JobFilter | None = None, *, limit: int = 50, after: str | None = None
) -> Page:
    """Jobs of one state.

    Ready ones come in the order in which they are claimed, delayed ones by when they become ready, running ones by
    their claim, dead ones with the latest death first, ended ones with the newest job first.

    Raises:
        InvalidInput: naming the argument that cannot be taken.
    """
    where = where or JobFilter()
    if not 1 <= limit <= MOST_LISTED:
        raise InvalidInput("limit", f"{limit} is outside 1 to {MOST_LISTED}")
    if where.reason is not None and state not in ("dead", "ended"):
        raise InvalidInput("reason", f"{state} jobs have none; it narrows dead and ended ones")
    position = _position(state, after)
    names = await where.resolved(db)
    rows = await db.fetch(
        _STATEMENTS[state], names.kind, names.queue, where.tenant, where.reason, where.since, position, limit + 1
    )
    shown = rows[:limit]
    following = ":".join([state, *map(str, shown[-1]["position"])]) if len(rows) > limit else None
    return Page([_line(state, row) for row in shown], following)


def _position(state: State, after: str | None) -> list[int] | None:
    if after is None:
        return None
    told, *numbers = after.split(":")
    expected = 4 if state == "ready" else 2
    if told != state or len(numbers) != expected or not all(n.lstrip("-").isdecimal() for n in numbers):
        raise InvalidInput(
            "after", f"{after!r} is no place in a listing of {state} jobs; take `next` from the page before"
        )
    return [int(n) for n in numbers]


def _line(state: State, row: Record) -> JobLine:
    return JobLine(
        row["id"],
        state,
        row["kind"],
        row["queue"],
        row["tenant"],
        row["batch"],
        row["attempt"],
        row["max_attempts"],
        row["at"],
        row["outcome"],
        _hidden(row["reason"]),
        _told(row) if state == "running" else None,
    )


def _told(row: Record) -> Told | None:
    if row["done"] is None:
        return None
    return Told(row["done"], row["total"], _hidden(row["note"]), row["said_at"])


def _hidden(value: T) -> T:
    return cast(T, redact(value))  # what is text, JSON or None stays that


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that ended; reason and result are redacted. ``node`` is the process that ran it, 0 if none did."""

    attempt: int
    crashes: int
    outcome: str
    reason: str | None
    result: Any
    node: int
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """Where a job is, and what became of its attempts.

    Attributes:
        at: as in :class:`JobLine`.
        args: redacted; None once the job has ended, since the history does not keep them.
        priority, max_attempts: None once the job has ended.
        key: the unique key it holds, or held until it died.
        node: the host that runs it.
        cancel_asked_by: who asked it to stop while it runs.
        outcome, reason: how it ended, and why; redacted. None while it lives.
        progress: what it says of itself while it runs, if anything.
        attempts: in the order in which they ended, the latest 200.
    """

    id: int
    state: State
    kind: str
    queue: str
    tenant: UUID | None
    batch: UUID | None
    attempt: int
    crashes: int
    at: datetime
    outcome: str | None
    reason: str | None
    attempts: list[Attempt]
    priority: int | None = None
    max_attempts: int | None = None
    key: str | None = None
    args: Any = None
    node: str | None = None
    cancel_asked_by: str | None = None
    progress: Told | None = None


async def find_job(db: Database, job: int) -> JobView | None:
    """All that is known of a job; None if it never was, or is no longer in the history."""
    row = await db.fetchrow(SQL.look_where, [job])
    rows = await db.fetch(SQL.look_attempts, job, MOST_ATTEMPTS)
    attempts = [
        Attempt(
            r["attempt"],
            r["crashes"],
            r["outcome"],
            _hidden(r["reason"]),
            _hidden(r["result"]),
            r["node"],
            r["started_at"],
            r["finished_at"],
        )
        for r in rows
    ]
    if row is not None:
        known = {name: value for name, value in row.items() if name not in _NOT_AS_IT_IS}
        outcome = "dead" if row["state"] == "dead" else None
        return JobView(
            **known,
            args=_hidden(row["args"]),
            reason=_hidden(row["reason"]),
            outcome=outcome,
            progress=_told(row),
            attempts=attempts,
        )
    if not attempts:
        return None
    last, end = rows[-1], attempts[-1]
    return JobView(
        id=job,
        state="ended",
        kind=last["kind"],
        queue=last["queue"],
        tenant=last["tenant"],
        batch=last["batch"],
        attempt=end.attempt,
        crashes=end.crashes,
        at=end.finished_at,
        outcome=end.outcome,
        reason=end.reason,
        attempts=attempts,
    )
