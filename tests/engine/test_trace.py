"""A job carries the trace of whoever enqueued it, wherever it goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tidemill.engine import Context, Engine, Kind, NewJob, Registry, Snooze
from tidemill.engine.batch import seal_batch
from tidemill.engine.callers import enqueue_with
from tidemill.engine.dead import retry_dead
from tidemill.engine.declare import declare_kinds
from tidemill.engine.finish import End, Ending, finish
from tidemill.engine.job import Job
from tidemill.engine.rescue import end_overdue_batch, jobs_of, rescue_orphans
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import quiet, working

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
NOWHERE = 9_999
"""A node that never was."""


async def nothing(ctx: Context, args: dict[str, Any]) -> None: ...


def engine_of(db: Database) -> Engine:
    return Engine(db, Registry([Kind("mail", nothing), Kind("close", nothing)]))


async def claimed(engine: Engine, node: int | None = None) -> list[Job]:
    """Everything that is ready, held by ``node`` (a live one unless given)."""
    node = node or await engine.db.fetchval(SQL.node_register, "host", 1, 60.0, "0", [])
    async with engine.db.connection() as conn:
        rows = await conn.fetch(SQL.claim, engine.names.queue("default"), node, 10, 64, -1, 0, False)
        return await jobs_of(engine, conn, [row for row in rows if row["id"] is not None])


async def traces(db: Database, table: str) -> list[str | None]:
    return [row["trace"] for row in await db.fetch(f"select trace from tidemill.{table} order by id")]


@pytest.mark.parametrize(
    ("outcome", "table"),
    [("retry", "job_delayed"), ("snooze", "job_delayed"), ("release", "job_ready"), ("crashed", "job_ready"),
     ("dead", "job_dead")],
)  # fmt: skip
async def test_a_job_that_has_not_ended_for_good_keeps_its_trace(db: Database, outcome: End, table: str) -> None:
    engine = engine_of(db)
    await engine.enqueue_many([NewJob(kind="mail", trace=TRACE), NewJob(kind="mail"), NewJob(kind="mail", trace=OTHER)])
    jobs = sorted(await claimed(engine), key=lambda job: job.id)
    assert [job.trace for job in jobs] == [TRACE, None, OTHER]
    async with db.transaction() as conn:
        await finish(conn, [Ending(job, outcome) for job in jobs])
    assert await traces(db, table) == [TRACE, None, OTHER]


async def test_a_delayed_job_keeps_its_trace_when_it_becomes_ready(db: Database) -> None:
    engine = engine_of(db)
    await engine.enqueue_many([NewJob(kind="mail", delay=60, trace=TRACE)])
    await db.execute("select tidemill.advance_clock(interval '2 minutes')")
    await db.fetch(SQL.upkeep, NOWHERE, 15.0, 10)
    assert await traces(db, "job_ready") == [TRACE]


async def test_a_rescued_job_keeps_its_trace(db: Database) -> None:
    engine = engine_of(db)
    await engine.enqueue_many([NewJob(kind="mail", trace=TRACE)])
    await claimed(engine)
    await db.execute("update tidemill.node set expires_at = clock_timestamp() - interval '1 second'")
    assert await rescue_orphans(engine, db) == 1
    assert await traces(db, "job_ready") == [TRACE]


async def test_a_dead_job_that_is_retried_belongs_to_the_trace_of_its_first_enqueue(db: Database) -> None:
    engine = engine_of(db)
    [job] = await engine.enqueue_many([NewJob(kind="mail", trace=TRACE)])
    assert job is not None
    async with db.transaction() as conn:
        await finish(conn, [Ending(held, "dead", reason="no") for held in await claimed(engine)])
    await retry_dead(db, [job])
    assert await traces(db, "job_ready") == [TRACE]


async def test_a_batchs_closing_job_belongs_to_the_trace_of_whoever_opened_it(db: Database) -> None:
    async def open_one(engine: Engine, **options: Any) -> None:
        async with db.transaction() as conn:
            batch = await engine.open_batch(conn, on_close="close", args={}, trace=TRACE, **options)
            await engine.enqueue_many([NewJob(kind="mail", batch=batch, trace=OTHER)], conn=conn)
            await seal_batch(conn, batch)

    engine = engine_of(db)
    await open_one(engine)
    async with db.transaction() as conn:
        await finish(conn, [Ending(held, "done") for held in await claimed(engine)])
    assert await traces(db, "job_ready") == [TRACE], "drained"
    await db.execute("delete from tidemill.job_ready")
    now = await db.fetchval("select tidemill.now()")
    await open_one(engine, deadline=now - timedelta(seconds=1))
    assert await end_overdue_batch(engine, db, await db.fetchval(SQL.node_register, "host", 1, 60.0, "0", []))
    assert await traces(db, "job_ready") == [TRACE], "at the deadline"
    await db.execute("delete from tidemill.job_ready")
    async with db.transaction() as conn:
        await seal_batch(conn, await engine.open_batch(conn, on_close="close", args={}, trace=TRACE))
    assert await traces(db, "job_ready") == [TRACE], "empty"


async def test_a_job_enqueued_on_the_applications_connection_carries_its_trace(database_url: str, db: Database) -> None:
    engine = engine_of(db)
    await declare_kinds(db, engine.registry)
    conn = await asyncpg.connect(database_url)
    try:
        async with conn.transaction():
            await enqueue_with(conn, [NewJob(kind="mail", trace=TRACE), NewJob(kind="mail")], engine.registry)
    finally:
        await conn.close()
    assert await traces(db, "job_ready") == [TRACE, None]


@pytest.mark.parametrize("trace", ["", "no", TRACE.upper(), TRACE + "0", TRACE + "\n", 7], ids=repr)
async def test_what_is_no_traceparent_is_refused_by_name(db: Database, trace: Any) -> None:
    engine = engine_of(db)
    await declare_kinds(db, engine.registry)
    with pytest.raises(InvalidInput, match="trace"):
        await engine.enqueue_many([NewJob(kind="mail", trace=trace)])
    with pytest.raises(asyncpg.PostgresError) as caught:
        await db.fetch("select tidemill.enqueue_many($1)", [{"kind": "mail", "trace": trace}])
    assert (caught.value.sqlstate, caught.value.column_name) == ("TM003", "trace")
    assert await traces(db, "job_ready") == []


async def test_every_attempt_of_a_job_sees_the_trace(db: Database) -> None:
    seen: list[str | None] = []

    async def sleepy(ctx: Context, args: dict[str, Any]) -> Snooze | None:
        seen.append(ctx.job.trace)
        return Snooze(0) if len(seen) == 1 else None

    async with working(db, Kind("sleepy", sleepy)) as (engine, _):
        await engine.enqueue_many([NewJob(kind="sleepy", trace=TRACE)])
        await quiet(db)
    assert seen == [TRACE, TRACE]
