"""The rate limit under many callers, and pg_cron's way in against a stand-in for pg_net."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.schema.conftest import acting
from tidemill.postgres import Connection, Database

SECRET = "a-cron-secret-of-good-length"
LIMIT = "select * from public.check_rate_limit($1, $2, $3)"


@pytest.fixture
async def pool(shared_url: str) -> AsyncIterator[Database]:
    async with await Database.open(shared_url, max_size=10, name="tidemill tests") as database:
        yield database


async def test_a_window_lets_its_limit_through_and_counts_down(conn: Connection) -> None:
    answers = [tuple((await conn.fetchrow(LIMIT, "sync-posts:u1", 3, 60)) or ())[:2] for _ in range(5)]
    assert answers == [(True, 2), (True, 1), (True, 0), (False, 0), (False, 0)]
    assert (await conn.fetchrow(LIMIT, "sync-posts:u2", 3, 60))["remaining"] == 2  # type: ignore[index]


async def test_many_callers_at_once_never_pass_the_limit_together(pool: Database) -> None:
    answers = await asyncio.gather(*(pool.fetchrow(LIMIT, "sync-metrics:u1", 7, 600) for _ in range(60)))
    allowed = [a["remaining"] for a in answers if a is not None and a["allowed"]]
    assert sorted(allowed) == list(range(7))
    assert len({a["reset_at"] for a in answers if a is not None}) == 1


async def test_a_new_window_starts_when_the_old_one_is_over(conn: Connection) -> None:
    for _ in range(2):
        first = await conn.fetchrow(LIMIT, "k", 1, 60)
    assert first is not None
    assert first["allowed"] is False
    assert timedelta(seconds=50) < first["reset_at"] - datetime.now(UTC) < timedelta(seconds=61)
    await conn.execute("update public.rate_limit_counters set reset_at = clock_timestamp()")
    again = await conn.fetchrow(LIMIT, "k", 1, 60)
    assert again is not None
    assert again["allowed"] is True
    assert again["reset_at"] > first["reset_at"]


async def test_a_moved_clock_lifts_no_limit(conn: Connection) -> None:
    await conn.fetchrow(LIMIT, "k", 1, 60)
    await conn.execute("select tidemill.advance_clock('1 year')")
    assert (await conn.fetchrow(LIMIT, "k", 1, 60))["allowed"] is False  # type: ignore[index]


async def test_a_count_at_its_end_stays_there(conn: Connection) -> None:
    await conn.fetchrow(LIMIT, "k", 1, 60)
    await conn.execute("update public.rate_limit_counters set count = 2147483647")
    assert (await conn.fetchrow(LIMIT, "k", 1, 60))["allowed"] is False  # type: ignore[index]


@pytest.mark.parametrize("bad", [("", 1, 1), (None, 1, 1), ("k", 0, 1), ("k", None, 1), ("k", 1, 0), ("k", 1, -5)])
async def test_a_limit_that_makes_no_sense_is_refused(conn: Connection, bad: tuple[object, ...]) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await conn.fetchrow(LIMIT, *bad)


async def test_service_role_may_ask_for_the_limit(conn: Connection) -> None:
    async with acting(conn, "service_role"):
        assert (await conn.fetchrow(LIMIT, "k", 1, 60))["allowed"] is True  # type: ignore[index]


async def have_pg_net(conn: Connection) -> None:
    """pg_net's interface; it sends nothing and keeps what it was given."""
    await conn.execute("""
        create schema net;
        create table net.sent (
            id bigint generated always as identity, url text, headers jsonb, body jsonb, timeout_milliseconds int
        );
        create function net.http_post(
            url text, body jsonb default '{}', params jsonb default '{}',
            headers jsonb default '{"Content-Type": "application/json"}', timeout_milliseconds int default 5000
        ) returns bigint language sql as $$
            insert into net.sent (url, headers, body, timeout_milliseconds) values ($1, $4, $2, $5) returning id
        $$;
    """)


async def configure(conn: Connection, **values: str) -> None:
    await conn.executemany("insert into tidemill.setting (name, value) values ($1, $2)", list(values.items()))


@pytest.mark.parametrize(
    "function", ["scheduled-sync", "token-refresh", "token-auto-revoke", "workspace-cleanup", "process-auto-sync-jobs"]
)
async def test_our_functions_are_called_with_the_secret_and_the_call_is_recorded(
    conn: Connection, function: str
) -> None:
    await have_pg_net(conn)
    await configure(conn, CRON_SECRET=SECRET, TIDEMILL_BASE_URL="https://example.org/")
    request = await conn.fetchval("select public.trigger_edge_function($1)", function)
    sent = await conn.fetchrow("select * from net.sent")
    assert sent is not None
    assert sent["id"] == request
    assert sent["url"] == f"https://example.org/functions/v1/{function}"
    assert sent["headers"] == {"Content-Type": "application/json", "Authorization": f"Bearer {SECRET}"}
    assert sent["body"] == {}
    recorded = await conn.fetchrow("select name, request_id from tidemill.edge_call")
    assert recorded == (function, request)


@pytest.mark.parametrize(
    "name", ["delete-everything", "", None, "scheduled-sync/../admin", "Scheduled-Sync", "scheduled-sync "]
)
async def test_no_other_name_is_called(conn: Connection, name: str | None) -> None:
    await have_pg_net(conn)
    await configure(conn, CRON_SECRET=SECRET, TIDEMILL_BASE_URL="https://example.org")
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await conn.fetchval("select public.trigger_edge_function($1)", name)
    assert await conn.fetch("select * from net.sent") == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"TIDEMILL_BASE_URL": "https://example.org"}, "CRON_SECRET is not set"),
        ({"CRON_SECRET": SECRET}, "TIDEMILL_BASE_URL is not set"),
        ({"CRON_SECRET": SECRET, "TIDEMILL_BASE_URL": "example.org"}, "TIDEMILL_BASE_URL is not set"),
        ({"CRON_SECRET": SECRET, "TIDEMILL_BASE_URL": "file:///etc/passwd"}, "TIDEMILL_BASE_URL is not set"),
    ],
)
async def test_what_is_not_set_up_is_an_error_and_not_silence(
    conn: Connection, values: dict[str, str], said: str
) -> None:
    await have_pg_net(conn)
    await configure(conn, **values)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match=said) as e:
        await conn.fetchval("select public.trigger_edge_function('scheduled-sync')")
    assert SECRET not in str(e.value)
    assert await conn.fetch("select * from tidemill.edge_call") == []


async def test_without_pg_net_the_call_says_so(conn: Connection) -> None:
    await configure(conn, CRON_SECRET=SECRET, TIDEMILL_BASE_URL="https://example.org")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="no pg_net"):
        await conn.fetchval("select public.trigger_edge_function('scheduled-sync')")


async def test_the_secret_of_supabase_vault_wins_over_the_setting(conn: Connection) -> None:
    await have_pg_net(conn)
    await configure(conn, CRON_SECRET="from-the-setting", TIDEMILL_BASE_URL="https://example.org")
    await conn.execute("create schema vault; create table vault.decrypted_secrets (name text, decrypted_secret text)")
    await conn.execute("insert into vault.decrypted_secrets values ('CRON_SECRET', $1), ('OTHER', 'x')", SECRET)
    await conn.fetchval("select public.trigger_edge_function('token-refresh')")
    sent = await conn.fetchval("select headers ->> 'Authorization' from net.sent")
    assert sent == f"Bearer {SECRET}"


async def test_service_role_may_trigger_without_ever_reading_the_secret(conn: Connection) -> None:
    await have_pg_net(conn)
    await configure(conn, CRON_SECRET=SECRET, TIDEMILL_BASE_URL="https://example.org")
    async with acting(conn, "service_role"):
        request = await conn.fetchval("select public.trigger_edge_function('scheduled-sync')")
        assert (
            await conn.fetchval("select name from tidemill.edge_call where request_id = $1", request)
            == "scheduled-sync"
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with conn.transaction():
                await conn.fetch("select value from tidemill.setting")


async def test_calls_of_more_than_thirty_days_are_forgotten(conn: Connection) -> None:
    await have_pg_net(conn)
    await configure(conn, CRON_SECRET=SECRET, TIDEMILL_BASE_URL="https://example.org")
    await conn.execute(
        "insert into tidemill.edge_call (name, called_at) "
        "values ('scheduled-sync', clock_timestamp() - interval '31 days')"
    )
    await conn.fetchval("select public.trigger_edge_function('scheduled-sync')")
    assert await conn.fetchval("select count(*) from tidemill.edge_call") == 1
