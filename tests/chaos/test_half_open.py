"""A network that falls silent while its sockets stay open: what hangs is bounded, and nothing is doubled."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from tests.engine.support import PATIENCE, history, quiet, until, working
from tests.postgres.proxy import Proxy
from tidemill.engine import Context, Engine, Kind
from tidemill.postgres import Database, connect

BEAT = "update tidemill.node set expires_at"
LEASE_S = 12.0


async def test_a_heartbeat_that_falls_silent_is_sent_on_another_connection_before_the_lease_is_lost(
    db: Database,
) -> None:
    go_on = asyncio.Event()

    async def wait(ctx: Context, args: dict[str, Any]) -> None:
        await go_on.wait()

    async with (
        Proxy(db.url) as proxy,
        await Database.open(proxy.url) as far,
        working(far, Kind("chaos.wait", wait), lease_ttl=LEASE_S) as (engine, worker),
    ):
        node = worker.node.id
        await engine.enqueue("chaos.wait")
        await until(lambda: _leased(db), what="a claim")
        for beat in [proxy.at("in the request", BEAT, silent=True) for _ in range(2)]:
            await _happened(beat.happened)
        before = await db.fetchval("select expires_at from tidemill.node where id = $1", node)
        await until(lambda: _renewed(db, node, before), what="a renewal of the same incarnation")
        go_on.set()
        await quiet(db)
    assert await history(db) == [("chaos.wait", 1, "done", None)]
    assert worker.lost == 0


async def test_when_all_its_connections_fall_silent_at_once_a_worker_keeps_its_leases_and_works_on(
    db: Database,
) -> None:
    calls: list[int] = []
    go_on = asyncio.Event()

    async def write(ctx: Context, args: dict[str, Any]) -> None:
        calls.append(ctx.job.id)
        await go_on.wait()
        async with ctx.transaction() as conn:
            await conn.execute("insert into effect values ($1)", ctx.job.id)

    await db.execute("create table effect (job bigint)")
    async with (
        Proxy(db.url) as proxy,
        await Database.open(proxy.url, command_timeout=1.0) as far,
        working(far, Kind("chaos.write", write), answer=1.0) as (engine, worker),
    ):
        node = worker.node.id
        jobs = [await engine.enqueue("chaos.write") for _ in range(5)]
        await until(lambda: _leased(db, 5), what="claims")
        proxy.silence()
        proxy.heal()
        go_on.set()
        late = await Engine(db, engine.registry).enqueue("chaos.write")
        await quiet(db)
        written = await db.fetch("select job from effect order by job")
        assert [row["job"] for row in written] == sorted([*jobs, late])
        # A handler whose statement was not answered is run again, and spends no attempt.
        assert sorted(await history(db)) == [("chaos.write", 1, "done", None)] * 6
        assert worker.node.id == node
    assert worker.lost == 0


async def test_a_statement_whose_process_is_gone_does_not_run_on_nor_keep_its_locks(db: Database) -> None:
    async def is_running() -> bool:
        return await db.fetchval(
            "select exists (select from pg_stat_activity where application_name = 'chaos gone' and state = 'active'"
            " and query like '%pg_sleep%')"
        )

    async def is_gone() -> bool:
        return not await is_running()

    await db.execute("create table t (n int); insert into t values (1)")
    conn = await connect(db.url, name="chaos gone")
    asleep = asyncio.create_task(conn.execute("with x as (update t set n = 2) select pg_sleep(600)", timeout=900))
    await until(is_running, what="a statement under way")
    conn.terminate()
    await asyncio.gather(asleep, return_exceptions=True)
    await until(is_gone, what="the end of a statement whose client is gone")
    assert await db.fetchval("update t set n = 3 returning n", timeout=5) == 3


async def _happened(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


async def _leased(db: Database, jobs: int = 1) -> bool:
    return await db.fetchval("select count(*) = $1 from tidemill.job_lease", jobs)


async def _renewed(db: Database, node: int, before: datetime) -> bool:
    return await db.fetchval("select expires_at > $2 from tidemill.node where id = $1", node, before)
