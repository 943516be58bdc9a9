"""Schedules declared in code: each fire becomes one job, whoever ticks and however often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import msgspec.structs
import structlog

from tidemill.engine import tracing
from tidemill.engine.arguments import as_json
from tidemill.engine.cancel import cancel_jobs
from tidemill.engine.engine import Engine
from tidemill.engine.job import NewJob
from tidemill.engine.kind import Kind
from tidemill.engine.recurrence import Plan, recurrence
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database, Record

CHUNK = 500
"""Due schedules that one transaction fires."""
LONGEST_S = 3.0
"""Seconds after which a tick begins no further chunk: the heartbeat of its process waits for it."""
MOST_PLANS = 10_000
"""Different specs that a process keeps as it has read them; 1.5 kB each."""

_LONGEST_NAME = 200

_log = structlog.get_logger("tidemill.engine")


@dataclass(init=False, slots=True)
class Schedule:
    """A schedule of the application's own.

    Attributes:
        name: unique; declaring it again changes the schedule of that name.
        kind: the registered kind that each fire enqueues.
        args: the job's arguments; ``fire_at`` (ISO 8601, UTC) is added.
        spec: when it fires, given as keywords: ``cron="0 9 * * mon-fri", timezone="Asia/Taipei"``; see
            :func:`~tidemill.engine.recurrence.recurrence`.
    """

    name: str
    kind: str
    args: dict[str, Any]
    spec: dict[str, Any]

    def __init__(self, *, name: str, kind: str, args: Mapping[str, Any] | None = None, **spec: Any) -> None:
        self.name, self.kind, self.args, self.spec = name, kind, dict(args or {}), spec


@dataclass(frozen=True, slots=True)
class _Move:
    """What becomes of a due row: its jobs by fire time, and the fire that follows them."""

    name: str
    seen_at: datetime
    following_at: datetime | None
    jobs: Mapping[datetime, NewJob]


class Schedules:
    """The schedules of one database. Every node may tick; a fire is won by compare-and-set, so it happens once.

    **Misfires.** After an outage or a pause the latest missed fire is made up for, or none, or the latest n. A fire
    found within a minute was not missed.

    **Overlap.** While the job of one fire has not ended (it may be waiting, retrying or snoozed), the next fire is
    skipped; or both run (``allow``); or it waits its turn (``queue``): what came due meanwhile counts as missed, so
    ``latest`` runs the newest of it and ``{"all": n}`` up to n, one after the other; or the earlier job is cancelled
    (``replace``): if it runs it is asked to stop, and the newest fire's starts once it has. A kind whose jobs have
    unique keys of their own keeps to those instead.
    """

    def __init__(self, db: Database, engine: Engine) -> None:
        self._db = db
        self._engine = engine

    async def declare(self, schedule: Schedule, *, conn: Connection | None = None) -> None:
        """Create or change a schedule; the next fire already planned stands while its spec stays as it was.

        A pause outlives it; an earlier error does not.

        Raises:
            InvalidInput: for a name, an unknown kind or a spec that cannot be taken.
        """
        if not 1 <= len(schedule.name) <= _LONGEST_NAME:
            raise InvalidInput("name", f"needs 1 to {_LONGEST_NAME} characters")
        as_json("name", schedule.name)
        plan = recurrence(schedule.spec)
        kind = self._engine.registry[schedule.kind]
        if plan.overlap in ("queue", "replace") and kind.unique:
            raise InvalidInput(
                "overlap", f"{plan.overlap} is not to be had for {kind.name!r}, whose jobs have keys of their own"
            )
        where = conn or self._db
        now = await where.fetchval("select tidemill.now()")
        kind.checked(_job(schedule.name, kind, schedule.args, plan, now))
        await where.execute(
            SQL.schedule_declare, schedule.name, kind.name, schedule.args, schedule.spec, plan.next(now)
        )

    async def tick(self) -> datetime | None:
        """Enqueue the jobs of all fires that are due by ``tidemill.now()``; answers when the next one will be.

        Only schedules of kinds that this process knows are looked at: during a deployment the others belong to newer
        processes. A row that cannot be planned gets its ``error`` and disturbs no other. The answer lies in the past
        while a fire waits for the job before it, and when there was more to do than a tick may take time for.
        """
        kinds = [kind.name for kind in self._engine.registry]
        give_up = asyncio.get_running_loop().time() + LONGEST_S
        left = moved = 0
        while asyncio.get_running_loop().time() < give_up:
            due = await self._db.fetch(SQL.schedule_due, kinds, CHUNK, left)
            if holders := [row["holder"] for row in due if row["holder"] is not None]:
                await cancel_jobs(self._engine, holders, by="the next fire of its schedule")
                due = await self._db.fetch(SQL.schedule_due, kinds, CHUNK, left)
            fired = await self._fire([row for row in due if row["holder"] is None])
            left, moved = left + len(due) - fired, moved + fired
            if len(due) < CHUNK:
                if not left or not moved:
                    break
                left = moved = 0  # once more over what other nodes were at
        return await self._db.fetchval(SQL.schedule_next, kinds)

    async def list(self) -> list[Record]:
        """All schedules by name: ``name, kind, spec, next_at, last_at, paused_by, error``."""
        return await self._db.fetch(SQL.schedule_list)

    async def run(self, name: str) -> int | None:
        """Enqueue a schedule's job now, paused or not; its id, or None while its overlap rule leaves no room for it.

        The fires planned stay as they are.

        Raises:
            InvalidInput: when there is no such schedule, or this process does not know its kind.
        """
        row = await self._db.fetchrow(SQL.schedule_of, name)
        if row is None:
            raise _unknown(name)
        kind = self._engine.registry[row["kind"]]
        job = _job(name, kind, row["args"], recurrence(row["spec"]), row["now"])
        [job_id] = await self._engine.enqueue_many([msgspec.structs.replace(job, at=None)])
        return job_id

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
        """Let a paused schedule fire again, first for what it missed, as its misfire rule says.

        Raises:
            InvalidInput: when there is no such schedule.
        """
        if await self._db.fetchval(SQL.schedule_resume, name) is None:
            raise _unknown(name)

    async def _fire(self, due: list[Record]) -> int:
        """Fire what can be planned, mark what cannot; how many rows this node moved on."""
        moves: dict[str, _Move] = {}
        broken: dict[str, tuple[datetime, str]] = {}
        for row in due:
            try:
                moves[row["name"]] = _move(row, self._engine.registry[row["kind"]])
            except Exception as e:  # noqa: BLE001 - whatever a row is, it must not stop the others
                broken[row["name"]] = row["next_at"], _told(e)
        try:
            moved = await self._enqueue(moves)
        except Exception:
            # A job that is refused, or a fire that was carried out before, has the whole chunk undone: look for them.
            refused = {name: (move.seen_at, why) for name, move in moves.items() if (why := self._refusal(move))}
            left = await self._unfired({name: move for name, move in moves.items() if name not in refused})
            if left == moves:
                raise
            broken |= refused
            moved = await self._enqueue(left)
        return moved + await self._mark(broken)

    async def _enqueue(self, moves: Mapping[str, _Move]) -> int:
        if not moves:
            return 0
        planned = moves.values()

        async def work(conn: Connection) -> int:
            won = await conn.fetch(
                SQL.schedule_move,
                [move.name for move in planned],
                [move.seen_at for move in planned],
                [move.following_at for move in planned],
                [max(move.jobs, default=None) for move in planned],
            )
            names, fires, jobs = _columns(moves[row["name"]] for row in won)
            jobs = tracing.each_in_its_own(jobs, [self._engine.registry[job.kind] for job in jobs])
            ids = await self._engine.enqueue_many(jobs, conn=conn)
            await conn.execute(SQL.schedule_fire, names, fires, ids)
            return len(won)

        return await self._db.retrying(work)

    def _refusal(self, move: _Move) -> str | None:
        """Why a job of these cannot be enqueued."""
        try:
            for job in move.jobs.values():
                self._engine.registry[job.kind].checked(job)
        except Exception as e:  # noqa: BLE001 - a kind makes keys and tenants by functions of the application's own
            return _told(e)
        return None

    async def _unfired(self, moves: Mapping[str, _Move]) -> dict[str, _Move]:
        """The same without the fires that were carried out before."""
        names, fires, _ = _columns(moves.values())
        fired = {(row["name"], row["fire_at"]) for row in await self._db.fetch(SQL.schedule_fired, names, fires)}
        return {
            name: replace(move, jobs={at: job for at, job in move.jobs.items() if (name, at) not in fired})
            for name, move in moves.items()
        }

    async def _mark(self, broken: Mapping[str, tuple[datetime, str]]) -> int:
        if not broken:
            return 0
        seen, errors = zip(*broken.values(), strict=True)
        marked = await self._db.fetch(SQL.schedule_fail, list(broken), list(seen), list(errors))
        for row in marked:
            _log.error("schedule_broken", schedule=row["name"], error=row["error"])
        return len(marked)


@lru_cache(maxsize=MOST_PLANS)
def _plan(spec: str) -> Plan:
    return recurrence(msgspec.json.decode(spec))


@lru_cache(maxsize=CHUNK)
def _due(spec: str, planned: datetime, now: datetime) -> tuple[Sequence[datetime], datetime | None]:
    """What is carried out and what follows: computed once for all schedules of a chunk that are alike."""
    plan = _plan(spec)
    fires, following_at = plan.due(planned, now)
    return (fires[:1], fires[1]) if plan.overlap == "queue" and len(fires) > 1 else (fires, following_at)


def _move(row: Record, kind: Kind) -> _Move:
    """What a due row does: the fires it carries out, and the one after."""
    name, spec, args, seen_at = row["name"], row["spec"], row["args"], row["next_at"]
    plan = _plan(spec)
    fires, following_at = _due(spec, seen_at, row["now"])
    return _Move(name, seen_at, following_at, {at: _job(name, kind, args, plan, at) for at in fires})


def _job(name: str, kind: Kind, args: object, plan: Plan, fire_at: datetime) -> NewJob:
    """The job of a fire; whether the kind takes it is seen when it is enqueued."""
    if not isinstance(args, dict):
        raise InvalidInput("args", "is not an object")
    return NewJob(
        kind=kind.name,
        args={**args, "fire_at": fire_at.isoformat()},
        key=None if plan.overlap == "allow" or kind.unique else f"schedule:{name}",
        at=plan.start(name, fire_at) if plan.jitter else None,
    )


def _columns(moves: Iterable[_Move]) -> tuple[list[str], list[datetime], list[NewJob]]:
    """Schedule, fire time and job of every fire."""
    fires = [(move.name, at, job) for move in moves for at, job in move.jobs.items()]
    return [name for name, _, _ in fires], [at for _, at, _ in fires], [job for _, _, job in fires]


def _told(e: Exception) -> str:
    return str(e) if isinstance(e, InvalidInput) else f"{type(e).__name__}: {e}"


def _unknown(name: str) -> InvalidInput:
    return InvalidInput("name", f"there is no schedule {name!r}")
