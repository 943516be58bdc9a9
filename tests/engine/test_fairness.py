"""Many tenants in one queue: each gets its turn, whatever the others have waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from tidemill.engine import Context, Engine, Kind, NewJob
from tidemill.engine.claims import MOST_LANES
from tidemill.postgres import Database

from .support import quiet, until, working


class Starts:
    """A kind whose jobs note whose they are, in the order of their starts."""

    def __init__(self) -> None:
        self.tenants: list[UUID | None] = []

    async def __call__(self, ctx: Context, args: dict[str, Any]) -> None:
        self.tenants.append(ctx.job.tenant)
        await asyncio.sleep(0)


async def fill(engine: Engine, jobs: dict[UUID | None, int]) -> None:
    """Enqueue so many jobs of each, one tenant after another."""
    for tenant, count in jobs.items():
        await engine.enqueue_many([NewJob(kind="work", tenant=tenant) for _ in range(count)])


async def pause(db: Database, *, paused: bool) -> None:
    await db.execute("update tidemill.queue set paused_at = case when $1 then clock_timestamp() end", paused)
    await db.execute("select pg_notify('tidemill_job', '')")


async def test_small_tenants_do_not_wait_for_a_large_one(db: Database) -> None:
    starts, large, small = Starts(), uuid4(), [uuid4() for _ in range(100)]
    async with working(db, Kind("work", starts), concurrency=20) as (engine, _):
        await pause(db, paused=True)
        await fill(engine, {large: 3000, **dict.fromkeys(small, 5)})
        await pause(db, paused=False)
        await quiet(db)
    assert Counter(starts.tenants) == {large: 3000, **dict.fromkeys(small, 5)}
    first = {tenant: n for n, tenant in reversed(list(enumerate(starts.tenants)))}
    last = {tenant: n for n, tenant in enumerate(starts.tenants)}
    # A round over 101 tenants takes 101 jobs; some are claimed before it begins, and several rounds may be under way.
    assert max(first[tenant] for tenant in small) <= 3 * 101
    # 500 jobs of theirs and as many turns of the large one's as there are rounds.
    assert max(last[tenant] for tenant in small) <= 500 + 10 * 101


async def test_a_single_tenant_gets_everything_that_is_free(db: Database) -> None:
    starts, tenant = Starts(), uuid4()
    async with working(db, Kind("work", starts), concurrency=50) as (engine, _):
        await fill(engine, {tenant: 400})
        await quiet(db)
    assert len(starts.tenants) == 400


async def test_tenants_beyond_one_claims_lanes_get_their_turn_too(db: Database) -> None:
    starts, tenants = Starts(), [uuid4() for _ in range(3 * MOST_LANES)]
    async with working(db, Kind("work", starts), concurrency=500) as (engine, _):
        await pause(db, paused=True)
        await fill(engine, {**dict.fromkeys(tenants, 2), None: 10})
        await pause(db, paused=False)
        await quiet(db)
    assert Counter(starts.tenants) == {**dict.fromkeys(tenants, 2), None: 10}


async def test_a_callers_open_transaction_holds_up_neither_its_tenant_nor_anybody_else(db: Database) -> None:
    starts, tenant, other = Starts(), uuid4(), uuid4()
    async with working(db, Kind("work", starts)) as (engine, _):
        async with db.transaction() as conn:
            await engine.enqueue("work", tenant=tenant, conn=conn)
            await engine.enqueue("work", tenant=tenant)
            await engine.enqueue("work", tenant=other)

            async def _both_ran() -> bool:
                return len(starts.tenants) == 2

            await until(_both_ran, what="the jobs enqueued beside the open transaction")
            await until(_ended(db, 2), what="their ends")
        await quiet(db)
    assert Counter(starts.tenants) == {tenant: 2, other: 1}


def _ended(db: Database, count: int) -> Any:
    async def check() -> bool:
        return await db.fetchval("select count(*) from tidemill.job_run") == count

    return check


async def test_jobs_end_where_they_are_after_the_table_of_leases_was_rewritten(db: Database, database_url: str) -> None:
    go, begun = asyncio.Event(), 0

    async def work(ctx: Context, args: dict[str, Any]) -> Any:
        nonlocal begun
        begun += 1
        await go.wait()

    async with working(db, Kind("work", work)) as (engine, worker):
        # Rows before theirs are gone, so that a rewritten table has them elsewhere.
        await fill(engine, {None: 5})

        async def _all_begun() -> bool:
            return begun == 5

        await until(_all_begun, what="five running jobs")
        await db.execute("delete from tidemill.job_lease where id = (select min(id) from tidemill.job_lease)")
        plain = await asyncpg.connect(database_url)
        await plain.execute("vacuum full tidemill.job_lease")
        await plain.close()
        go.set()
        await quiet(db)
    assert worker.lost == 1
    assert await db.fetchval("select count(*) from tidemill.job_run where outcome = 'done'") == 4
