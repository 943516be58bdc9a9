from __future__ import annotations

import asyncio
from datetime import timedelta

from tidemill.engine import locks
from tidemill.postgres import Database

TTL = timedelta(seconds=60)


async def test_of_many_that_try_at_once_exactly_one_gets_the_lock(db: Database) -> None:
    async def attempt(n: int) -> bool:
        async with db.transaction() as conn:
            return (await locks.acquire(conn, "job", owner=f"node {n}", ttl=TTL)).acquired

    assert sorted(await asyncio.gather(*(attempt(n) for n in range(10)))) == [False] * 9 + [True]


async def test_only_the_owner_frees_a_lock_and_each_acquisition_raises_the_fence(db: Database) -> None:
    async with db.transaction() as conn:
        first = await locks.acquire(conn, "job", owner="a", ttl=TTL)
        assert not await locks.release(conn, "job", owner="b")
        refused = await locks.acquire(conn, "job", owner="b", ttl=TTL)
        assert (refused.acquired, refused.locked_until) == (False, first.locked_until)
        assert await locks.release(conn, "job", owner="a")
        second = await locks.acquire(conn, "job", owner="b", ttl=TTL)
        assert second.acquired
        assert second.fence == (first.fence or 0) + 1
        assert not await locks.release(conn, "job", owner="a")


async def test_a_lock_whose_holder_died_is_free_when_its_short_lease_ends(db: Database) -> None:
    async with db.transaction() as conn:
        await locks.acquire(conn, "job", owner="dead", ttl=TTL)
    await db.execute("update public.system_job_locks set locked_until = clock_timestamp()")
    async with db.transaction() as conn:
        assert (await locks.acquire(conn, "job", owner="b", ttl=TTL)).acquired


async def test_the_old_form_takes_and_frees_locks_of_the_old_form_only(db: Database) -> None:
    acquire = "select acquired, locked_until from acquire_system_job_lock($1, $2)"
    for name, ttl in (("", 60), ("  ", 60), ("job", 0), ("job", -5), (None, 60), ("job", None)):
        row = await db.fetchrow(acquire, name, ttl)
        assert row is not None
        assert not row["acquired"]
    row = await db.fetchrow(acquire, "job", 1800)
    assert row["acquired"]
    held = await db.fetchrow(acquire, "job", 1800)
    assert (held["acquired"], held["locked_until"]) == (False, row["locked_until"])
    assert await db.fetchval("select release_system_job_lock('job')")
    async with db.transaction() as conn:
        assert (await locks.acquire(conn, "job", owner="new", ttl=TTL)).acquired
    assert not await db.fetchval("select release_system_job_lock('job')")


async def test_no_lock_is_granted_for_longer_than_half_an_hour(db: Database) -> None:
    async with db.transaction() as conn:
        answer = await locks.acquire(conn, "job", owner="a", ttl=timedelta(hours=9))
    assert await db.fetchval("select $1 <= clock_timestamp() + interval '30 minutes'", answer.locked_until)
