"""The listener hears, notices that it does not, and comes back."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from tests.postgres.proxy import Proxy
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Connection, Database, Listener

DEADLINE = 1.0
PATIENCE = 30.0


async def heard(queue: asyncio.Queue[str]) -> str:
    async with asyncio.timeout(PATIENCE):
        return await queue.get()


async def until_unhealthy(listener: Listener) -> None:
    async with asyncio.timeout(PATIENCE):
        while listener.healthy:
            await asyncio.sleep(0.02)


async def test_each_callback_hears_its_channel_and_is_told_of_the_connect(db: Database, database_url: str):
    queues = {"one": asyncio.Queue[str](), "two two": asyncio.Queue[str]()}
    listener = Listener(database_url)
    for channel, queue in queues.items():
        listener.on(channel, queue.put_nowait)
    await listener.start()
    try:
        assert [await heard(q) for q in queues.values()] == ["", ""]
        assert listener.healthy
        await db.execute("select pg_notify('two two', 'b'), pg_notify('one', 'a')")
        assert [await heard(q) for q in queues.values()] == ["a", "b"]
    finally:
        await listener.close()
    assert not listener.healthy


async def test_a_half_open_connection_is_found_and_replaced(db: Database, database_url: str):
    queue = asyncio.Queue[str]()
    async with Proxy(database_url) as proxy:
        listener = Listener(proxy.url, deadline=DEADLINE)
        listener.on("news", queue.put_nowait)
        await listener.start()
        assert await heard(queue) == ""
        proxy.swallow()
        await until_unhealthy(listener)
        await db.execute("select pg_notify('news', 'missed')")
        proxy.pass_on()
        assert await heard(queue) == ""  # the connect tells that something may have been missed
        assert listener.healthy
        await db.execute("select pg_notify('news', 'later')")
        assert await heard(queue) == "later"
        await listener.close()


async def test_a_cut_connection_is_replaced_at_once_not_at_the_next_heartbeat(db: Database, database_url: str):
    queue = asyncio.Queue[str]()
    listener = Listener(database_url, deadline=1000.0)
    listener.on("news", queue.put_nowait)
    await listener.start()
    assert await heard(queue) == ""
    await db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name = 'tidemill listener' and datname = current_database()"
    )
    assert await heard(queue) == ""
    await listener.close()


async def test_it_starts_without_a_server_and_connects_when_there_is_one(db: Database, database_url: str):
    queue = asyncio.Queue[str]()
    async with Proxy(database_url) as proxy:
        await proxy.refuse()
        listener = Listener(proxy.url, deadline=DEADLINE)
        listener.on("news", queue.put_nowait)
        await listener.start()
        assert not listener.healthy
        await proxy.accept()
        assert await heard(queue) == ""
        await listener.close()


async def test_a_callback_that_fails_does_not_deafen_the_others(db: Database, database_url: str):
    queue = asyncio.Queue[str]()

    def fail(_: str) -> None:
        raise ValueError("a callback's own fault")

    listener = Listener(database_url)
    listener.on("news", fail)
    listener.on("news", queue.put_nowait)
    await listener.start()
    assert await heard(queue) == ""
    await db.execute("select pg_notify('news', 'a')")
    assert await heard(queue) == "a"
    assert listener.healthy
    await listener.close()


async def until_lent(listener: Listener) -> AbstractAsyncContextManager[Connection]:
    async with asyncio.timeout(PATIENCE):
        while (lent := listener.lend()) is None:
            await asyncio.sleep(0.02)
        return lent


async def test_it_lends_its_connection_to_one_at_a_time_and_hears_afterwards_what_was_said_meanwhile(
    db: Database, database_url: str
):
    queue = asyncio.Queue[str]()
    listener = Listener(database_url)
    listener.on("news", queue.put_nowait)
    listener.to_lend({"plan_cache_mode": "force_generic_plan"})
    assert listener.lend() is None
    await listener.start()
    assert await heard(queue) == ""
    async with await until_lent(listener) as conn:
        assert listener.lend() is None
        async with conn.transaction():
            assert await conn.fetchval("show plan_cache_mode") == "force_generic_plan"
            await db.execute("select pg_notify('news', 'a')")
            await conn.fetchval("select 1")
            assert queue.empty()
    assert await heard(queue) == "a"
    async with await until_lent(listener) as again:
        assert again is conn
    await listener.close()
    assert listener.lend() is None


async def test_a_connection_that_nobody_is_to_borrow_is_not_lent(database_url: str):
    queue = asyncio.Queue[str]()
    listener = Listener(database_url)
    listener.on("news", queue.put_nowait)
    await listener.start()
    assert await heard(queue) == ""
    assert listener.healthy
    assert listener.lend() is None
    with pytest.raises(RuntimeError, match="before the listener starts"):
        listener.to_lend({})
    await listener.close()


async def test_a_heartbeat_waits_until_the_connection_is_given_back(database_url: str):
    queue = asyncio.Queue[str]()
    listener = Listener(database_url, deadline=DEADLINE)
    listener.on("news", queue.put_nowait)
    listener.to_lend({})
    await listener.start()
    assert await heard(queue) == ""
    async with await until_lent(listener) as conn:
        for _ in range(8):  # together longer than two beats lie apart, each shorter than its time-out
            await conn.execute("select pg_sleep($1)", DEADLINE / 5)
    assert listener.healthy
    async with await until_lent(listener) as again:
        assert again is conn
    assert queue.empty()
    await listener.close()


async def test_a_connection_on_which_something_failed_is_replaced(db: Database, database_url: str):
    queue = asyncio.Queue[str]()
    listener = Listener(database_url, deadline=1000.0)
    listener.on("news", queue.put_nowait)
    listener.to_lend({})
    await listener.start()
    assert await heard(queue) == ""
    with pytest.raises(ValueError, match="of the block"):
        async with await until_lent(listener):
            raise ValueError("a fault of the block")
    assert listener.lend() is None  # not what was closed, though nobody has noticed yet
    assert await heard(queue) == ""
    with pytest.raises(DatabaseUnavailable):
        async with await until_lent(listener) as conn:
            await conn.execute("select pg_terminate_backend(pg_backend_pid())")
    assert await heard(queue) == ""
    await db.execute("select pg_notify('news', 'a')")
    assert await heard(queue) == "a"
    await listener.close()


async def test_what_a_lent_connection_waits_for_in_vain_is_given_up_on_the_server_too(db: Database, database_url: str):
    listener = Listener(database_url, deadline=DEADLINE)
    listener.to_lend({})
    await listener.start()
    await db.execute("create table held as select 1 as row")
    async with db.transaction() as conn:
        await conn.execute("lock table held")
        with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            async with await until_lent(listener) as lent:
                await lent.execute("update held set row = 2")
        assert (
            await conn.fetchval("select count(*) from pg_locks where relation = 'held'::regclass and not granted") == 0
        )
    await listener.close()
