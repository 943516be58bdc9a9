"""Several clients on one connection to the server: what one of them sets, says or leaves, no other meets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import asyncpg
import pytest

from tests.engine.support import until
from tests.pooler.conftest import Pool
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database, Listener, check, migrate, tenant_session

WHO = (
    "select pg_backend_pid() as pid, current_user::text as role, auth.uid() as uid,"
    " current_setting('request.jwt.claims', true) as claims"
)


async def test_a_tenants_claims_do_not_reach_the_next_client_of_the_connection(pool: Pool) -> None:
    url = pool(1)
    async with (
        await Database.open(url, max_size=1, pooled=True) as tenant,
        await Database.open(url, max_size=1, pooled=True) as other,
    ):
        login = await other.fetchval("select current_user::text")
        for end in (None, ValueError("mine"), asyncio.CancelledError()):
            user = uuid4()
            try:
                async with tenant_session(tenant, {"sub": str(user)}) as conn:
                    mine = await conn.fetchrow(WHO)
                    assert mine is not None
                    assert (mine["role"], mine["uid"]) == ("authenticated", user)
                    if end:
                        raise end
            except (ValueError, asyncio.CancelledError):
                pass
            theirs = await other.fetchrow(WHO)
            assert theirs is not None
            assert theirs["pid"] == mine["pid"], "the two clients did not share the connection"
            assert (theirs["role"], theirs["uid"], theirs["claims"]) == (login, None, "")


async def test_clients_that_take_turns_on_one_connection_get_their_own_answers(pool: Pool) -> None:
    url = pool(1)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Database.open(url, max_size=1, pooled=True)) for _ in range(4)]

        async def ask(number: int, db: Database) -> list[object]:
            answers: list[object] = []
            for turn in range(25):
                answers.append(await db.fetchval(f"select $1::int + {number}", turn))
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await db.fetchval("select 1 / $1::int", 0)
                answers.append(await db.fetchval("select $1::jsonb", {"n": number}))
            return answers

        said = await asyncio.gather(*map(ask, range(4), clients))
    assert said == [[answer for turn in range(25) for answer in (turn + n, {"n": n})] for n in range(4)]


async def test_a_transaction_whose_process_fell_silent_is_cut_and_frees_what_it_locked(
    pool: Pool, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.postgres.pool.IDLE_TRANSACTION_S", 0.5)
    await db.execute("create table effect (n int)")
    async with await Database.open(pool(2), pooled=True) as pooled:
        with pytest.raises(DatabaseUnavailable):
            async with pooled.transaction() as conn:
                await conn.execute("insert into effect values (1)")
                await conn.execute("lock table effect")
                await db.execute("insert into effect values (2)")  # waits for the lock
                await conn.execute("insert into effect values (3)")
        assert [row["n"] for row in await pooled.fetch("select n from effect")] == [2]
        assert await pooled.fetchval("show idle_in_transaction_session_timeout") == "0", "it outlived its transaction"


async def test_a_server_restarting_behind_the_pooler_is_a_lost_connection_and_then_none(
    pool: Pool, db: Database
) -> None:
    async with await Database.open(pool(2), max_size=1, pooled=True) as pooled:
        with pytest.raises(DatabaseUnavailable):
            async with pooled.transaction() as conn:
                pid = await conn.fetchval("select pg_backend_pid()")
                await db.execute("select pg_terminate_backend($1, 5000)", pid)
                await conn.fetchval("select 1")
        assert await pooled.fetchval("select 1") == 1


async def test_a_statement_over_its_time_is_cancelled_on_the_server_too(pool: Pool, db: Database) -> None:
    running = "select count(*) from pg_stat_activity where datname = current_database() and query ~ '^select pg_sleep'"
    async with await Database.open(pool(1), pooled=True) as pooled:
        with pytest.raises(DatabaseUnavailable):
            await pooled.execute("select pg_sleep(300)", timeout=0.2)

        async def cancelled() -> bool:
            return not await db.fetchval(f"{running} and state = 'active'")

        await until(cancelled, what="the cancelling")
        assert await pooled.fetchval("select 1") == 1


async def test_a_pooler_that_nobody_was_told_of_is_named(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailable, match="TIDEMILL_POOLED"):
        await Database.open(pool(1))


async def test_migrations_are_compared_through_the_pooler_and_refuse_to_run_through_it(pool: Pool) -> None:
    url = pool(1)
    assert (await check(url)).is_current
    with pytest.raises(DatabaseUnavailable, match="TIDEMILL_LISTEN_URL"):
        await migrate(url)


async def test_a_listener_behind_the_pooler_knows_that_it_is_deaf_and_a_direct_one_hears(
    pool: Pool, database_url: str
) -> None:
    url = pool(2)
    heard = asyncio.Queue[str]()
    deaf, hearing = Listener(url), Listener(database_url)
    hearing.on("news", heard.put_nowait)
    deaf.on("news", lambda _: pytest.fail("it heard"))
    async with await Database.open(url, pooled=True) as pooled:
        for listener in (deaf, hearing):
            await listener.start()
        try:
            async with asyncio.timeout(30):
                assert await heard.get() == ""
                await pooled.execute("select pg_notify('news', 'a')")
                assert await heard.get() == "a"
            assert (hearing.healthy, deaf.healthy) == (True, False)
        finally:
            for listener in (deaf, hearing):
                await listener.close()
