"""The pool: values, failures, retries."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import asyncpg
import pytest

from tests.conftest import with_database
from tests.postgres.proxy import Proxy
from tidemill.errors import ConfigurationError, DatabaseUnavailable
from tidemill.postgres import Connection, Database, connect, lending, pool

_NAMED = "select count(*) from pg_stat_activity where application_name = 'to be closed'"
NOBODY_LISTENS = "postgresql://postgres@127.0.0.1:1/postgres"


async def test_json_columns_go_in_and_come_out_as_python_values(db: Database):
    value = {"list": [1, 2.5, None, True], "text": "ü\n\"'", "nested": {"a": {}}}
    assert await db.fetchval("select $1::jsonb", value) == value
    assert await db.fetchval("select $1::json", value) == value
    assert await db.fetchval("select $1::jsonb", None) is None
    assert await db.fetchval("select $1::jsonb is null", None)
    assert await db.fetchval("select array_agg(x) from jsonb_array_elements($1::jsonb) x", [1, "b"]) == [1, "b"]


async def test_every_connection_has_jit_off_and_a_name(db: Database):
    row = await db.fetchrow("select current_setting('jit') jit, current_setting('application_name') name")
    assert row is not None
    assert (row["jit"], row["name"]) == ("off", "tidemill tests")


async def test_a_pooled_database_sends_no_setting_and_keeps_no_statement(database_url: str):
    async with await Database.open(database_url, pooled=True) as db:
        assert await db.fetchval("select source from pg_settings where name = 'jit'") != "client"
        async with db.connection() as conn:
            await conn.fetchval("select $1::int", 1)
            assert await conn.fetch("select name from pg_prepared_statements where name <> ''") == []


async def test_a_transaction_is_read_committed_and_all_or_nothing(db: Database):
    await db.execute("create table t (n int)")
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as conn:
            await conn.execute("insert into t values (1)")
            assert await conn.fetchval("show transaction_isolation") == "read committed"
            raise ZeroDivisionError
    assert await db.fetchval("select count(*) from t") == 0


async def test_a_deadlock_is_retried_until_both_sides_are_done(db: Database):
    await db.execute("create table t (id int primary key, n int); insert into t values (1, 0), (2, 0)")
    both_hold_one = asyncio.Barrier(2)
    calls = 0

    async def add(first: int, second: int) -> None:
        waits = True

        async def work(conn: Connection) -> None:
            nonlocal calls, waits
            calls += 1
            await conn.execute("update t set n = n + 1 where id = $1", first)
            if waits:
                waits = False
                await both_hold_one.wait()
            await conn.execute("update t set n = n + 1 where id = $1", second)

        await db.retrying(work)

    await asyncio.gather(add(1, 2), add(2, 1))
    assert [r["n"] for r in await db.fetch("select n from t order by id")] == [2, 2]
    assert calls > 2


async def test_a_conflict_that_stays_is_raised_after_six_tries(db: Database):
    calls = 0

    async def work(conn: Connection) -> None:
        nonlocal calls
        calls += 1
        raise asyncpg.SerializationError("again")

    with pytest.raises(asyncpg.SerializationError):
        await db.retrying(work)
    assert calls == 6


async def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(DatabaseUnavailable):
        await Database.open(NOBODY_LISTENS)


async def test_a_database_that_does_not_exist_is_unavailable_and_the_reason_is_given(server_url: str):
    with pytest.raises(DatabaseUnavailable, match="no_such_database"):
        await connect(with_database(server_url, "no_such_database"))


async def test_an_unknown_host_is_unavailable():
    with pytest.raises(DatabaseUnavailable, match="host name"):
        await connect("postgresql://postgres@nowhere.invalid/postgres")


async def test_a_url_without_sense_is_a_configuration_error_that_does_not_repeat_the_password():
    with pytest.raises(ConfigurationError) as caught:
        await connect("mysql://somebody:hush@127.0.0.1/x")
    assert "hush" not in str(caught.value)


async def test_a_killed_connection_is_named_and_the_next_call_has_a_new_one(db: Database):
    with pytest.raises(DatabaseUnavailable):
        await db.execute("select pg_terminate_backend(pg_backend_pid())")
    assert await db.fetchval("select 1") == 1


async def test_a_connection_killed_inside_a_transaction_is_named_too(db: Database):
    with pytest.raises(DatabaseUnavailable):
        async with db.transaction() as conn:
            pid = await conn.fetchval("select pg_backend_pid()")
            await db.execute("select pg_terminate_backend($1, 5000)", pid)
            await conn.fetchval("select 1")
    assert await db.fetchval("select 1") == 1


async def test_a_statement_over_its_time_is_unavailable(db: Database):
    with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
        await db.execute("select pg_sleep(60)", timeout=0.05)
    with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
        async with db.connection() as conn:
            await conn.execute("select pg_sleep(60)", timeout=0.05)
    assert await db.fetchval("select 1") == 1


async def test_failures_of_the_body_that_are_not_postgres_s_pass_unchanged(db: Database):
    for error in (TimeoutError("mine"), ConnectionResetError("another server's"), OSError("a file")):
        with pytest.raises(type(error)) as caught:
            async with db.connection() as conn:
                await conn.fetchval("select 1")
                raise error
        assert caught.value is error
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), db.connection() as conn:
            await conn.execute("select pg_sleep(60)")
    with pytest.raises(asyncpg.UndefinedTableError):
        await db.execute("select * from no_such_table")


async def test_a_connect_that_is_refused_is_tried_again_for_a_while(database_url: str):
    async with Proxy(database_url) as proxy:
        await proxy.refuse()
        opening = asyncio.create_task(Database.open(proxy.url))
        await asyncio.sleep(0)
        await proxy.accept()
        async with await opening as db:
            assert await db.fetchval("select 1") == 1


async def test_a_silent_server_does_not_hold_a_caller_for_ever(database_url: str):
    async with Proxy(database_url) as proxy, await Database.open(proxy.url, command_timeout=0.2) as db:
        proxy.swallow()
        with pytest.raises(DatabaseUnavailable):
            await db.fetchval("select 1")
        proxy.pass_on()


async def test_after_one_silent_statement_the_other_idle_connections_are_replaced_before_their_use(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lending, "GOODBYE_S", 0.2)
    async with Proxy(database_url) as proxy, await Database.open(proxy.url, command_timeout=1.0) as db:
        barrier = asyncio.Barrier(5)

        async def pid() -> int:
            async with db.connection() as conn:
                await barrier.wait()
                return await conn.fetchval("select pg_backend_pid()")

        silenced = set(await asyncio.gather(*(pid() for _ in range(5))))
        proxy.silence()
        proxy.heal()
        with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            await db.fetchval("select 1")
        fresh = set(await asyncio.gather(*(pid() for _ in range(5))))
        assert len(fresh) == 5
        assert not fresh & silenced


async def test_a_transaction_on_a_silent_connection_tells_what_its_body_ran_into(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool, "GOODBYE_S", 0.2)
    monkeypatch.setattr(lending, "GOODBYE_S", 0.2)
    async with Proxy(database_url) as proxy, await Database.open(proxy.url) as db:
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as conn:
                assert await conn.fetchval("select 1") == 1
                proxy.silence()
                raise ZeroDivisionError
        proxy.heal()
        assert await db.fetchval("select 1") == 1


async def test_both_ends_of_a_connection_look_after_the_other(db: Database):
    async with db.connection() as conn:
        rows = await conn.fetch(
            "select name, setting::int from pg_settings where name like 'tcp_%' or name like 'client_connection_%'"
        )
        assert {row["name"]: row["setting"] for row in rows} == {
            "client_connection_check_interval": 5000,
            "tcp_keepalives_count": 3,
            "tcp_keepalives_idle": 10,
            "tcp_keepalives_interval": 5,
            "tcp_user_timeout": 30000,
        }
    ours = await asyncpg.connect(db.url)
    before = ours._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    await ours.close()
    opened: Any = await connect(db.url)
    sock = opened._transport.get_extra_info("socket")
    assert (before, sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == (0, 1)
    await opened.close()


async def test_one_connection_serves_many_who_wait_for_it(database_url: str):
    async with await Database.open(database_url, max_size=1) as db:
        pids = await asyncio.gather(*(db.fetchval("select pg_backend_pid()") for _ in range(50)))
    assert len(set(pids)) == 1


async def test_a_connection_that_was_lost_while_nobody_used_it_is_not_lent_again(database_url: str, db: Database):
    lost = asyncio.Event()
    async with await Database.open(database_url) as other:
        async with other.connection() as conn:
            conn.add_termination_listener(lambda _: lost.set())
            first = await conn.fetchval("select pg_backend_pid()")
        await db.execute("select pg_terminate_backend($1, 5000)", first)
        await asyncio.wait_for(lost.wait(), 30)
        assert await other.fetchval("select pg_backend_pid()") != first


async def test_what_is_kept_at_hand_is_closed_with_the_pool(database_url: str, db: Database):
    other = await Database.open(database_url, name="to be closed")
    await asyncio.gather(*(other.fetchval("select pg_sleep(0.05)") for _ in range(8)))
    assert await db.fetchval(_NAMED) == 8
    await other.close()
    # A server process ends a moment after its client has said goodbye.
    async with asyncio.timeout(30):
        while await db.fetchval(_NAMED):
            await asyncio.sleep(0.02)
