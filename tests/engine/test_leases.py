from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from tidemill.engine import Context, Engine, Job, Kind, Orphan, Registry, fence_held
from tidemill.engine.rescue import POISON_LIMIT, rescue_orphans
from tidemill.errors import LeaseLost
from tidemill.postgres import Connection, Database

from . import by_hand
from .support import history, quiet, until, working


async def claimed(db: Database, *, ttl: float = 60.0, on_orphan: Any = None) -> tuple[Engine, Job]:
    """An engine and one job leased by a node that nobody keeps alive."""

    async def handler(ctx: Context, args: dict[str, Any]) -> None: ...

    registry = Registry()
    registry.add(Kind("work", handler, on_orphan=on_orphan))
    engine = Engine(db, registry)
    await engine.enqueue("work", {"n": 1}, key="k")
    return engine, await claim(engine, ttl)


async def claim(engine: Engine, ttl: float = 60.0) -> Job:
    [job] = await by_hand.claim(engine, (await by_hand.new_node(engine.db, ttl=ttl)).id)
    return job


def context(engine: Engine, job: Job) -> Context:
    return Context(job, engine, deadline=0)


async def test_a_holder_may_write_and_a_former_holder_may_not(db: Database) -> None:
    engine, job = await claimed(db)
    await db.execute("create table effect (n int)")
    async with context(engine, job).transaction() as conn:
        await conn.execute("insert into effect values (1)")
    await db.execute("update tidemill.node set expires_at = clock_timestamp()")
    assert await rescue_orphans(engine, db) == 1
    again = await claim(engine)
    assert again.id == job.id
    with pytest.raises(LeaseLost):
        async with context(engine, job).transaction() as conn:
            await conn.execute("insert into effect values (2)")
    async with context(engine, again).transaction() as conn:
        await conn.execute("insert into effect values (3)")
    assert [r["n"] for r in await db.fetch("select n from effect order by n")] == [1, 3]


async def test_a_lease_that_ran_out_refuses_writes_even_before_it_is_rescued(db: Database) -> None:
    engine, job = await claimed(db)
    await db.execute("update tidemill.node set expires_at = clock_timestamp()")
    with pytest.raises(LeaseLost):
        async with context(engine, job).transaction():
            pass


async def test_of_many_jobs_those_that_are_held_may_write_and_stay_held_until_the_commit(db: Database) -> None:
    engine, first = await claimed(db)
    await engine.enqueue("work", {"n": 2})
    second = await claim(engine)
    lost = replace(second, token=second.token - 1)
    async with db.transaction() as conn, db.connection() as other:
        assert await fence_held(conn, [second, first]) == {first.id, second.id}
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.fetch("select from tidemill.job_lease for update nowait")
        assert await fence_held(conn, [lost, first]) == {first.id}
    await db.execute("update tidemill.node set expires_at = clock_timestamp() where id = $1", second.node)
    async with db.transaction() as conn:
        assert await fence_held(conn, [first, second]) == {first.id}
        assert await fence_held(conn, [second]) == set()


async def test_a_process_that_stops_inside_its_transaction_neither_commits_late_nor_pins_the_lease(
    db: Database,
) -> None:
    await db.execute("create table effect (n int)")
    engine, job = await claimed(db, ttl=3.0)
    with pytest.raises(Exception, match=r"(?i)idle-in-transaction|connection"):
        async with context(engine, job).transaction() as conn:
            await conn.execute("insert into effect values (1)")
            gone = asyncio.create_task(until(lambda: rescue_orphans(engine, db), what="the rescue"))
            await gone
            await conn.execute("insert into effect values (2)")
    assert await db.fetchval("select count(*) from effect") == 0
    assert await db.fetchval("select crashes from tidemill.job_ready") == 1


async def test_jobs_of_a_dead_process_go_back_without_spending_an_attempt(db: Database) -> None:
    engine, job = await claimed(db)
    assert await rescue_orphans(engine, db) == 0  # the node is alive
    await db.execute("update tidemill.node set expires_at = clock_timestamp()")
    assert await rescue_orphans(engine, db) == 1
    row = await db.fetchrow("select id, attempt, crashes, key from tidemill.job_ready")
    assert tuple(row) == (job.id, 0, 1, "k")
    assert [h[2] for h in await history(db)] == ["crashed"]


FORGET = """
with lease as (delete from tidemill.job_lease returning *)
insert into tidemill.job_ready (id, queue, lane, rank, kind, max_attempts, enqueued_at, args)
select id, queue, lane, rank, kind, max_attempts, enqueued_at, args from lease
"""


async def test_a_claim_that_a_crash_made_the_server_forget_is_made_again_and_its_first_handler_stopped(
    db: Database,
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    async def handler(ctx: Context, args: dict[str, Any]) -> None:
        runs.append("begun")
        if len(runs) == 1:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
        async with ctx.transaction() as conn:
            await conn.execute("insert into effect values (1)")

    await db.execute("create table effect (n int)")
    async with working(db, Kind("work", handler)) as (engine, _):
        await engine.enqueue("work")
        await started.wait()
        await db.execute(FORGET)
        await db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'tidemill heartbeat'"
        )
        await asyncio.wait_for(stopped.wait(), 60)
        await quiet(db)
    assert runs == ["begun", "begun"]
    assert await db.fetchval("select count(*) from effect") == 1


async def test_tokens_are_drawn_at_random_so_that_a_crash_cannot_give_one_twice(db: Database) -> None:
    engine, first = await claimed(db)
    await engine.enqueue("work", {"n": 2})
    second = await claim(engine)
    assert len({first.token, second.token}) == 2
    assert min(first.token, second.token) > 1_000_000  # no sequence


async def test_after_the_clock_was_set_back_the_dead_do_not_outlive_their_time(db: Database) -> None:
    engine, job = await claimed(db)
    await db.execute(
        "update tidemill.node set expires_at = clock_timestamp() + interval '1 day' where id = $1", job.node
    )
    alive = await by_hand.new_node(db, ttl=90.0)
    await alive.beat()
    alive.close()
    left = "select extract(epoch from expires_at - clock_timestamp()) from tidemill.node where id = $1"
    assert 0 < await db.fetchval(left, job.node) <= 60
    assert 60 < await db.fetchval(left, alive.id) <= 90
    assert await rescue_orphans(engine, db) == 0


async def test_a_job_that_keeps_taking_its_process_down_is_dead_and_its_owner_is_told(db: Database) -> None:
    told: list[Orphan] = []

    async def tell(conn: Connection, orphans: list[Orphan]) -> None:
        told.extend(orphans)

    engine, job = await claimed(db, on_orphan=tell)
    for _ in range(POISON_LIMIT - 1):
        await db.execute("update tidemill.node set expires_at = clock_timestamp()")
        assert await rescue_orphans(engine, db) == 1
        await claim(engine)
    assert told == []
    await db.execute("update tidemill.node set expires_at = clock_timestamp()")
    await rescue_orphans(engine, db)
    assert [(o.job.id, o.outcome, o.reason) for o in told] == [(job.id, "dead", "poison")]
    assert await db.fetchval("select count(*) from tidemill.job_dead") == 1
    assert await db.fetchval("select count(*) from tidemill.unique_key") == 0


async def test_rescuers_side_by_side_take_each_orphan_once(db: Database) -> None:
    engine, _ = await claimed(db)
    await engine.enqueue_many([])
    await db.execute("update tidemill.node set expires_at = clock_timestamp()")
    taken = await asyncio.gather(*(rescue_orphans(engine, db) for _ in range(5)))
    assert sorted(taken) == [0, 0, 0, 0, 1]


async def test_a_worker_whose_node_row_is_gone_stops_its_handlers_and_begins_again(db: Database) -> None:
    cancelled = asyncio.Event()
    runs = 0

    async def work(ctx: Context, args: dict[str, Any]) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    started = asyncio.Event()
    async with working(db, Kind("work", work)) as (engine, worker):
        await engine.enqueue("work")
        await started.wait()
        before = worker.node.id
        await db.execute("update tidemill.node set expires_at = clock_timestamp() - interval '1 second'")
        await cancelled.wait()
        await quiet(db)
        assert worker.node.id != before
        assert worker.lost == 1
    assert [h[2] for h in await history(db)] == ["crashed", "done"]
