"""Jobs whose process died go back to the queue; jobs that keep killing processes, and late batches, are ended."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import structlog

from tidemill.engine.engine import Engine
from tidemill.engine.finish import Ending, finish, tell_owners
from tidemill.engine.job import Job
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database, Record

POISON_LIMIT = 5
"""Deaths of the holding process after which a job is taken for their cause."""
CHUNK = 500
MOST_MISSES = 10
"""Looks in a row that find none of a batch's jobs, though some live, until it is closed all the same."""

_FIELDS = itemgetter(
    *("id", "token", "node", "kind", "attempt", "crashes", "max_attempts"),
    *("tenant", "batch", "args", "place", "lane", "trace"),
)
"""A Job's, in its order."""

_log = structlog.get_logger("tidemill.engine")


async def jobs_of(engine: Engine, conn: Connection, rows: Sequence[Record]) -> list[Job]:
    """Jobs from rows of job_lease."""
    names = engine.names
    if unmet := names.unmet([row["kind"] for row in rows]):
        await names.meet(conn, unmet)
    return [Job(job, token, node, names.kind_name(kind), *rest) for job, token, node, kind, *rest in map(_FIELDS, rows)]


async def rescue_orphans(engine: Engine, db: Database) -> int:
    """Requeue the jobs of dead nodes, without spending an attempt; returns how many were taken from them."""

    async def work(conn: Connection) -> int:
        jobs = await jobs_of(engine, conn, await conn.fetch(SQL.orphans, CHUNK))
        if not jobs:
            if await conn.fetch(SQL.orphans_cut):
                _log.warning("silent_transaction_ended", note="its process was stopped within a statement")
            return 0
        endings = [
            Ending(job, "dead", reason="poison")
            if job.crashes + 1 >= POISON_LIMIT
            else Ending(job, "crashed", reason=f"node {job.node} was lost")
            for job in jobs
        ]
        await finish(conn, endings)
        await tell_owners(conn, engine.registry, endings)
        _log.warning("rescued", jobs=len(jobs), poison=sum(e.outcome == "dead" for e in endings))
        return len(jobs)

    return await db.retrying(work)


async def end_overdue_batch(engine: Engine, db: Database, node: int) -> bool:
    """End what is left of one batch past its deadline as ``skipped``, reason ``deadline``; False if there is none."""

    async def work(conn: Connection) -> bool:
        batch = await conn.fetchrow(SQL.batch_overdue)
        if batch is None:
            return False
        # While the batch is locked none of its jobs can end or be added: so many live, wherever they are. One that a
        # claim or a promotion was moving is missed by the statement that waited for it, and seen by the next.
        living, ended, missed = batch["total"] - batch["finished"], 0, 0
        while ended < living and missed < MOST_MISSES:
            rows = await conn.fetch(SQL.batch_seize, batch["id"], node, CHUNK)
            if not rows:
                missed += 1
                continue
            missed = 0
            jobs = await jobs_of(engine, conn, rows)
            endings = [Ending(job, "skipped", reason="deadline", orphaned=True) for job in jobs]
            await finish(conn, endings)
            await tell_owners(conn, engine.registry, endings)
            ended += len(jobs)
        await conn.execute(SQL.batch_force_close, batch["id"])
        _log.warning("batch_overdue", batch=str(batch["id"]), jobs_ended=ended)
        return True

    return await db.retrying(work)
