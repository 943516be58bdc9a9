"""The job engine and a whole scheduled sync with nothing but a transaction pooler to talk to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.engine.support import PATIENCE, history, quiet, until
from tests.engine.test_leases import claimed, context
from tests.pooler.conftest import Pool
from tests.sync.support import world
from tidemill.engine import Backoff, Context, Done, Engine, Kind, Registry, Snooze, Worker
from tidemill.engine.rescue import rescue_orphans
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database, Listener

SIZE = 3
"""Connections that the pooler has: fewer than the worker would like."""
LISTENERS = """\
select count(*) from pg_stat_activity
where application_name = 'tidemill listener' and datname = current_database()
"""


@asynccontextmanager
async def working(url: str, *kinds: Kind, listener: Listener | None = None) -> AsyncGenerator[tuple[Engine, Worker]]:
    """An engine with one worker, both of them behind the pooler."""
    registry = Registry()
    for kind in kinds:
        registry.add(kind)
    async with (
        await Database.open(url, pooled=True) as db,
        await Database.open(url, max_size=4, pooled=True) as control,
    ):
        engine = Engine(db, registry)
        worker = Worker(engine, control, queues=dict.fromkeys(registry.queues, 20), listener=listener)
        task = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await worker.started.wait()
            yield engine, worker
        finally:
            worker.stop()
            async with asyncio.timeout(PATIENCE):
                await task


async def test_a_worker_that_only_polls_runs_every_job_once_and_writes_what_it_must(pool: Pool, db: Database) -> None:
    await db.execute("create table effect (n int)")

    async def write(ctx: Context, args: dict[str, Any]) -> Done | Snooze:
        if ctx.job.attempt == 1 and args["n"] % 10 == 0:
            raise ValueError("the first attempt of some")
        async with ctx.transaction() as conn:
            await conn.execute("insert into effect values ($1)", args["n"])
        return Done({"n": args["n"]})

    async with working(pool(SIZE), Kind("write", write, backoff=Backoff(base=0.01, cap=0.02))) as (engine, worker):
        for n in range(100):
            await engine.enqueue("write", {"n": n}, key=f"k{n}")
        await quiet(db)
        assert worker.lost == 0
    assert [row["n"] for row in await db.fetch("select n from effect order by n")] == list(range(100))
    outcomes = [row[2] for row in await history(db)]
    assert (outcomes.count("done"), len(outcomes)) == (100, 110)


async def test_a_direct_connection_for_listen_wakes_a_worker_behind_the_pooler(
    pool: Pool, db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.worker.POLL_S", 10 * PATIENCE)  # so that only a notification wakes it
    monkeypatch.setattr("tidemill.engine.worker.POLL_DEAF_S", 10 * PATIENCE)
    ran = asyncio.Event()

    async def run(ctx: Context, args: dict[str, Any]) -> None:
        ran.set()

    listener = Listener(database_url)
    async with working(pool(SIZE), Kind("run", run), listener=listener) as (engine, _):

        async def listens() -> bool:
            return listener.healthy

        await until(listens, what="a listener that hears")
        await engine.enqueue("run", {})
        async with asyncio.timeout(PATIENCE):
            await ran.wait()
        await quiet(db)


async def test_a_job_whose_process_stops_in_its_transaction_is_cut_when_its_lease_ends(
    pool: Pool, db: Database
) -> None:
    await db.execute("create table effect (n int)")
    async with await Database.open(pool(SIZE), pooled=True) as pooled:
        engine, job = await claimed(pooled, ttl=3.0)
        with pytest.raises(DatabaseUnavailable):
            async with context(engine, job).transaction() as conn:
                await conn.execute("insert into effect values (1)")
                await until(lambda: rescue_orphans(engine, db), what="the rescue")
                await conn.execute("insert into effect values (2)")
        assert await pooled.fetchval("select count(*) from effect") == 0
        assert await pooled.fetchval("select crashes from tidemill.job_ready") == 1


@pytest.mark.parametrize("direct", [False, True], ids=["polling", "listening"])
async def test_a_scheduled_sync_runs_behind_the_pooler(pool: Pool, database_url: str, direct: bool) -> None:
    listen_url = database_url if direct else None
    async with world(pool(SIZE), accounts=6, posts=4, pooled=True, listen_url=listen_url) as w:
        first = await w.run()
        second = await w.tick()
        for state in (first, second):
            assert (state.status, state.success_count, state.error_count) == ("completed", 6, 0)
        assert [await w.snapshots(account) for account in w.ids.values()] == [4] * 6
        assert await w.lock_is_free()
        assert await w.db.fetchval(LISTENERS) == direct
