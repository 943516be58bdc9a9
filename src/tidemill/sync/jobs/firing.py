"""Firing: due sync jobs move on to their next fire, and each fire gets its run and the engine's job for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID, uuid4

import structlog

from tidemill.connectors import Connector
from tidemill.engine import Engine, NewJob, tracing
from tidemill.engine.cancel import cancel_jobs
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Connection, Database, Record
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.lane import kind_of
from tidemill.sync.jobs.schedule import read_schedule
from tidemill.sync.jobs.statements import SQL
from tidemill.sync.jobs.written import told

CHUNK = 500
"""Due jobs that one transaction fires."""
MOST_LISTED = 20_000
"""Due jobs that one tick takes on."""
BY = "the next fire of its schedule"

_log = structlog.get_logger("tidemill.sync")


@dataclass(frozen=True, slots=True)
class _Move:
    """What becomes of a due row: its fires, each with a run's id and an earliest start, and the fire that follows."""

    row: Record
    following_at: datetime | None
    overlap: str
    fires: Sequence[tuple[UUID, datetime, datetime | None]]


def engine_job(
    run: UUID,
    *,
    kind: str,
    job: UUID,
    company: UUID,
    connector: UUID,
    priority: int,
    at: datetime | None = None,
    free: bool,
) -> NewJob:
    """The engine's job of a run; those of one sync job share a key, unless they are ``free`` to stand in line."""
    return NewJob(
        kind=kind,
        args={"run": str(run), "connector": str(connector)},
        key=None if free else f"job:{job}",
        tenant=company,
        priority=priority,
        at=at,
    )


class Firing:
    """Fires due jobs, whoever ticks and however often: one run per job and fire."""

    def __init__(
        self, db: Database, engine: Engine, types: Mapping[str, JobType], connectors: Mapping[str, Connector]
    ) -> None:
        self._db = db
        self._engine = engine
        self._types = types
        self._connectors = connectors

    async def fire(self, until: float) -> int:
        """Fire what is due, company by company, until the loop's clock says ``until``; how many rows moved on."""
        listed = await self._db.fetch(SQL.due, list(self._types), MOST_LISTED)
        holders = [row["holder"] for row in listed if row["holder"] is not None]
        if holders:
            await cancel_jobs(self._engine, holders, by=BY)
        ids = [row["id"] for row in listed if row["holder"] is None]
        moved = 0
        for start in range(0, len(ids), CHUNK):
            if asyncio.get_running_loop().time() >= until:
                break
            moved += await self._fire(await self._db.fetch(SQL.due_rows, ids[start : start + CHUNK]))
        return moved

    async def _fire(self, rows: list[Record]) -> int:
        moves: list[_Move] = []
        broken: list[tuple[Record, str]] = []
        for row in rows:
            try:
                moves.append(_move(row))
            except Exception as e:  # noqa: BLE001 - whatever a row is, it must not stop the others
                broken.append((row, told(e)))
        return await self._enqueue(moves) + await self._mark(broken)

    async def _enqueue(self, moves: list[_Move]) -> int:
        """Fire in one transaction; what is refused is looked for by halves, and left where it is."""
        if not moves:
            return 0
        try:
            return await self._db.retrying(lambda conn: self._write(conn, moves))
        except DatabaseUnavailable:
            raise
        except Exception as e:  # noqa: BLE001 - nor must what Postgres refuses of one
            if len(moves) == 1:
                _log.error("sync_job_not_fired", job=str(moves[0].row["id"]), exc_info=e)
                return 0
        half = len(moves) // 2
        return await self._enqueue(moves[:half]) + await self._enqueue(moves[half:])

    async def _write(self, conn: Connection, moves: list[_Move]) -> int:
        won = await conn.fetch(
            SQL.fire_move,
            [move.row["id"] for move in moves],
            [move.row["next_run_at"] for move in moves],
            [move.row["version"] for move in moves],
            [move.following_at for move in moves],
            [move.overlap in ("queue", "replace") for move in moves],
        )
        if not won:
            return 0
        ids = {row["id"] for row in won}
        fires = {run: (move, at, start) for move in moves if move.row["id"] in ids for run, at, start in move.fires}
        made = await conn.fetch(
            SQL.fire_runs,
            list(fires),
            [move.row["id"] for move, _, _ in fires.values()],
            [at for _, at, _ in fires.values()],
            [move.overlap == "skip" for move, _, _ in fires.values()],
        )
        pending = {row["id"] for row in made if row["status"] == "pending"}
        await hand_over(
            conn,
            self._engine,
            {run: self._job(run, *fires[run]) for run in fires if run in pending},
            settle=ids,
        )
        return len(won)

    def _job(self, run: UUID, move: _Move, _: datetime, start: datetime | None) -> NewJob:
        row = move.row
        return engine_job(
            run,
            kind=kind_of(row["provider"], self._connectors),
            job=row["id"],
            company=row["company_id"],
            connector=row["connector_id"],
            priority=row["priority"],
            at=start,
            free=move.overlap == "allow",
        )

    async def _mark(self, broken: list[tuple[Record, str]]) -> int:
        if not broken:
            return 0
        marked = await self._db.fetch(
            SQL.plan_fail,
            [row["id"] for row, _ in broken],
            [row["next_run_at"] for row, _ in broken],
            [row["version"] for row, _ in broken],
            [why for _, why in broken],
        )
        return len(marked)


async def hand_over(conn: Connection, engine: Engine, jobs: Mapping[UUID, NewJob], *, settle: Iterable[UUID]) -> int:
    """Enqueue runs in the caller's transaction, and bring their sync jobs' state in line; how many were enqueued.

    One whose key is still held, by a run that has ended but for the engine's own ending of it, stays for later.
    """
    traced = tracing.each_in_its_own(list(jobs.values()), [engine.registry[job.kind] for job in jobs.values()])
    ids = await engine.enqueue_many(traced, conn=conn)
    await conn.execute(SQL.attach, list(jobs), ids, list(settle))
    return sum(job_id is not None for job_id in ids)


@lru_cache(maxsize=CHUNK)
def _due(
    schedule: str, zone: str | None, planned: datetime, now: datetime
) -> tuple[Sequence[datetime], datetime | None]:
    """What is carried out and what follows: computed once for all rows of a chunk that are alike."""
    plan = read_schedule(schedule, zone)
    fires, following_at = plan.due(planned, now)
    return (fires[:1], fires[1]) if plan.overlap == "queue" and len(fires) > 1 else (fires, following_at)


def _move(row: Record) -> _Move:
    plan = read_schedule(row["schedule"], row["zone"])
    fires, following_at = _due(row["schedule"], row["zone"], row["next_run_at"], row["now"])
    starts = [plan.start(str(row["id"]), at) if plan.jitter else None for at in fires]
    return _Move(row, following_at, plan.overlap, [(uuid4(), at, s) for at, s in zip(fires, starts, strict=True)])
