"""Schedules declared in code: each fire becomes one job, whoever ticks and however often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from tidemill.engine.cron import Cron
from tidemill.engine.engine import Engine
from tidemill.engine.job import NewJob
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database, Record

CHUNK = 500
"""Due schedules that one transaction fires."""

_log = structlog.get_logger("tidemill.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule of the application's own.

    Attributes:
        name: unique; declaring it again changes the schedule of that name.
        kind: the registered kind that each fire enqueues.
        args: the job's arguments; ``fire_at`` (ISO 8601, UTC) is added.
        cron: five fields, see :class:`~tidemill.engine.cron.Cron`.
        timezone: IANA zone in which the fields are read.
    """

    name: str
    kind: str
    cron: str
    args: Mapping[str, Any] = field(default_factory=dict[str, Any])
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class _Fire:
    name: str
    seen_at: datetime
    at: datetime
    following_at: datetime
    job: NewJob


class Schedules:
    """The schedules of one database. Every node may tick; a fire is won by compare-and-set, so it happens once.

    After an outage or a pause only the latest missed fire is made up for.
    """

    def __init__(self, db: Database, engine: Engine) -> None:
        self._db = db
        self._engine = engine

    async def declare(self, schedule: Schedule, *, conn: Connection | None = None) -> None:
        """Create or change a schedule; the next fire already planned stands while cron and zone stay as they were.

        A pause outlives it; an earlier error does not.

        Raises:
            InvalidInput: for an unknown kind, a cron expression or a zone that cannot be taken.
        """
        cron = Cron.parse(schedule.cron, schedule.timezone)
        kind = self._engine.registry[schedule.kind].name
        where = conn or self._db
        now = await where.fetchval("select tidemill.now()")
        args = dict(schedule.args)
        await where.execute(
            SQL.schedule_declare, schedule.name, kind, args, schedule.cron, schedule.timezone, cron.next(now)
        )

    async def tick(self) -> datetime | None:
        """Enqueue the jobs of all fires that are due by ``tidemill.now()``; answers when the next one will be.

        Only schedules of kinds that this process knows are looked at: during a deployment the others belong to newer
        processes. A row that cannot be planned gets its ``error`` and disturbs no other.
        """
        kinds = [kind.name for kind in self._engine.registry]
        while True:
            due = await self._db.fetch(SQL.schedule_due, kinds, CHUNK)
            moved = await self._fire(due)
            if len(due) < CHUNK or not moved:  # none moved: other nodes are at the same rows
                return await self._db.fetchval(SQL.schedule_next, kinds)

    async def pause(self, name: str, by: str) -> str:
        """Stop a schedule from firing in favour of ``by``; answers who it is paused by, which may be somebody earlier.

        Raises:
            InvalidInput: when there is no such schedule.
        """
        paused_by = await self._db.fetchval(SQL.schedule_pause, name, by)
        if paused_by is None:
            raise _unknown(name)
        return paused_by

    async def resume(self, name: str) -> None:
        """Let a paused schedule fire again, first for the latest fire that it missed, if any.

        Raises:
            InvalidInput: when there is no such schedule.
        """
        if await self._db.fetchval(SQL.schedule_resume, name) is None:
            raise _unknown(name)

    async def _fire(self, due: list[Record]) -> int:
        """Fire what can be planned, mark what cannot; how many rows this node moved on."""
        fires: dict[str, _Fire] = {}
        broken: dict[str, tuple[datetime, str]] = {}
        for row in due:
            try:
                fires[row["name"]] = _plan(row)
            except InvalidInput as e:
                broken[row["name"]] = row["next_at"], str(e)
        return await self._enqueue(fires) + await self._mark(broken)

    async def _enqueue(self, fires: Mapping[str, _Fire]) -> int:
        if not fires:
            return 0
        planned = fires.values()

        async def work(conn: Connection) -> int:
            moved = await conn.fetch(
                SQL.schedule_fire,
                [fire.name for fire in planned],
                [fire.seen_at for fire in planned],
                [fire.at for fire in planned],
                [fire.following_at for fire in planned],
            )
            won = [fires[row["name"]] for row in moved if row["fired"]]
            if won:
                jobs = await self._engine.enqueue_many([fire.job for fire in won], conn=conn)
                await conn.execute(SQL.schedule_fired, [fire.name for fire in won], [fire.at for fire in won], jobs)
            return len(moved)

        return await self._db.retrying(work)

    async def _mark(self, broken: Mapping[str, tuple[datetime, str]]) -> int:
        if not broken:
            return 0
        seen, errors = zip(*broken.values(), strict=True)
        marked = await self._db.fetch(SQL.schedule_fail, list(broken), list(seen), list(errors))
        for row in marked:
            _log.error("schedule_broken", schedule=row["name"], error=row["error"])
        return len(marked)


def _plan(row: Record) -> _Fire:
    """What a due row does: its latest fire up to now, and the one after."""
    cron = Cron.parse(row["cron"], row["timezone"])
    if not isinstance(row["args"], dict):
        raise InvalidInput("args", "is not an object")
    # A zone whose rules changed since the fire was planned may have none at that instant: it is due all the same.
    fire_at = max(cron.slot(row["now"]), row["next_at"])
    job = NewJob(kind=row["kind"], args={**row["args"], "fire_at": fire_at.isoformat()})
    return _Fire(row["name"], row["next_at"], fire_at, cron.next(row["now"]), job)


def _unknown(name: str) -> InvalidInput:
    return InvalidInput("name", f"there is no schedule {name!r}")
