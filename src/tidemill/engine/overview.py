"""The fleet at a glance, for people and for what scrapes. Its cost does not follow how many jobs there are.

Counts stop at a bound, so that looking costs some tens of milliseconds beside 1,000,000 jobs too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from tidemill.engine.queues import PausedKind, paused_kinds
from tidemill.engine.statements import SQL
from tidemill.postgres import Database

MOST_COUNTED = 10_000
"""Where counts of jobs stop."""
MOST_LISTED = 100
"""Nodes, locks, scopes, and schedules of each state that are told of."""
LATE_S = 60.0
"""Seconds after which a schedule that has not fired is late: many beats of a worker."""
MOST_BLOCKS = 256
"""Of each partition of the history: 2 MB, some 15,000 attempts without a result."""

ScheduleState = Literal["broken", "late", "paused", "planned"]


@dataclass(frozen=True, slots=True)
class NodeLine:
    """A worker process.

    Attributes:
        version: Tidemill's version there; None of one too old to say so, as ``beat_at`` and ``queues``.
        beat_at: its last heartbeat.
        expires_at: when its leases end unless it renews them.
        is_alive: whether that is still to come.
        jobs: what it has in hand.
    """

    id: int
    host: str
    pid: int
    version: str | None
    started_at: datetime
    beat_at: datetime | None
    expires_at: datetime
    is_alive: bool
    jobs: int
    queues: list[str] | None


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue's jobs; each is counted in one state.

    Attributes:
        oldest_s: seconds for which the ready job that waits longest could have been started; None when none could.
        delayed: not due yet, and never tried.
        retrying: waits for another attempt.
        more: the counts that are at least so much: counting stopped.
    """

    name: str
    ready: int
    oldest_s: float | None
    running: int
    delayed: int
    retrying: int
    dead: int
    paused_at: datetime | None
    paused_by: str | None
    more: list[str]


@dataclass(frozen=True, slots=True)
class ScheduleLine:
    """A schedule. ``note`` says what is wrong with a broken one, and who paused a paused one."""

    state: ScheduleState
    name: str
    next_at: datetime | None
    note: str | None


@dataclass(frozen=True, slots=True)
class LockLine:
    """A named lock that is held; without an owner it was taken in the old form."""

    name: str
    owner: str | None
    batch: UUID | None
    locked_until: datetime


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """An outside scope that may not be called for now."""

    name: str
    blocked_until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The fleet at one moment.

    Attributes:
        at: the database's clock; leases, heartbeats and locks go by it.
        now: Tidemill's clock, by which all else goes; only tests and demos move it.
        partitions: table → seconds from now for which partitions are ready; 0 when rows go to the DEFAULT partition.
    """

    at: datetime
    now: datetime
    nodes: list[NodeLine]
    queues: list[QueueState]
    paused_kinds: list[PausedKind]
    schedules: list[ScheduleLine]
    locks: list[LockLine]
    scopes: list[ScopeLine]
    partitions: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RecentRuns:
    """Attempts that ended lately.

    Attributes:
        since: from when on they are counted: the instant asked for, or a later one where there are very many.
        outcomes: outcome → attempts.
    """

    since: datetime
    outcomes: Mapping[str, int]


async def overview(db: Database, *, most: int = MOST_COUNTED) -> Overview:
    """Look at all of it; ``most`` is where counts stop."""
    clock = await db.fetchrow(SQL.overview_clock)
    assert clock is not None  # noqa: S101 - the migration put its one row there
    nodes = await db.fetch(SQL.overview_nodes, most, MOST_LISTED)
    queues = await db.fetch(SQL.overview_queues, most)
    schedules = await db.fetch(SQL.overview_schedules, MOST_LISTED, LATE_S)
    return Overview(
        at=clock["at"],
        now=clock["now"],
        nodes=[NodeLine(**row) for row in nodes],
        queues=[_queue_state(**row) for row in queues],
        paused_kinds=await paused_kinds(db),
        schedules=[ScheduleLine(**row) for row in schedules],
        locks=[LockLine(**row) for row in await db.fetch(SQL.overview_locks, MOST_LISTED)],
        scopes=[ScopeLine(**row) for row in await db.fetch(SQL.overview_scopes, MOST_LISTED)],
        partitions={row["name"]: row["ahead_s"] for row in await db.fetch(SQL.overview_partitions)},
    )


async def recent_runs(db: Database, since: datetime, *, most_blocks: int = MOST_BLOCKS) -> RecentRuns:
    """Attempts that ended since an instant, by outcome, as far back as the last blocks of the history reach."""
    rows = await db.fetch(SQL.overview_runs, since, most_blocks)
    reached: datetime | None = rows[0]["since"] if rows else None
    return RecentRuns(max(since, reached or since), {row["outcome"]: row["runs"] for row in rows})


def _queue_state(
    *, more_ready: bool, more_running: bool, more_delayed: bool, more_dead: bool, **known: Any
) -> QueueState:
    stops = {
        "ready": more_ready,
        "running": more_running,
        "delayed": more_delayed,
        "retrying": more_delayed,
        "dead": more_dead,
    }
    return QueueState(**known, more=[name for name, stopped in stops.items() if stopped])
