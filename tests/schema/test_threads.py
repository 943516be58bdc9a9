"""Accounts, tokens and posts: what the tables themselves hold to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.schema.conftest import Tenant, make_tenant
from tidemill.postgres import Connection

METRICS = ("views", "likes", "replies", "reposts", "quotes")
ADD_POST = (
    "insert into public.workspace_threads_posts "
    "(workspace_id, workspace_threads_account_id, threads_post_id, published_at) values ($1, $2, $3, now())"
)
RATES = ("engagement_rate", "reply_rate", "repost_rate", "quote_rate", "virality_score")


@pytest.fixture
async def tenant(conn: Connection) -> Tenant:
    return await make_tenant(conn, "north")


async def rates(conn: Connection, post: UUID, *metrics: int | None) -> dict[str, Any]:
    assignments = ", ".join(f"current_{m} = ${i}" for i, m in enumerate(METRICS, 2))
    row = await conn.fetchrow(
        f"update public.workspace_threads_posts set {assignments} where id = $1 returning {', '.join(RATES)}",
        post,
        *metrics,
    )
    return dict(row or {})


async def test_rates_follow_the_formulas(conn: Connection, tenant: Tenant) -> None:
    assert await rates(conn, tenant.post, 700, 40, 11, 5, 3) == {
        "engagement_rate": Decimal("8.4286"),
        "reply_rate": Decimal("1.5714"),
        "repost_rate": Decimal("0.7143"),
        "quote_rate": Decimal("0.4286"),
        "virality_score": Decimal("13.07"),
    }


async def test_a_post_starts_with_nothing_known(conn: Connection, tenant: Tenant) -> None:
    row = await conn.fetchrow("select * from public.workspace_threads_posts where id = $1", tenant.post)
    assert row is not None
    unknown = {f"current_{m}{suffix}" for m in (*METRICS, "shares") for suffix in ("", "_at")} | set(RATES)
    assert {name: row[name] for name in unknown} == dict.fromkeys(unknown)


async def test_unknown_views_make_every_rate_unknown(conn: Connection, tenant: Tenant) -> None:
    assert set((await rates(conn, tenant.post, None, 40, 11, 5, 3)).values()) == {None}


async def test_no_views_make_every_rate_zero(conn: Connection, tenant: Tenant) -> None:
    assert set((await rates(conn, tenant.post, 0, 40, 11, 5, None)).values()) == {Decimal(0)}


async def test_an_unknown_metric_makes_unknown_what_is_made_of_it(conn: Connection, tenant: Tenant) -> None:
    found = await rates(conn, tenant.post, 100, 40, 11, None, 3)
    assert {name for name, value in found.items() if value is None} == {
        "engagement_rate",
        "repost_rate",
        "virality_score",
    }
    assert found["reply_rate"] == 11


@pytest.mark.parametrize("likes", [10**9, 2**63 - 1])
async def test_one_view_and_any_number_of_likes_fit(conn: Connection, tenant: Tenant, likes: int) -> None:
    found = await rates(conn, tenant.post, 1, likes, likes, likes, likes)
    assert found["engagement_rate"] == 400 * likes
    assert found["virality_score"] == 850 * likes


async def test_rates_cannot_be_written(conn: Connection, tenant: Tenant) -> None:
    with pytest.raises(asyncpg.GeneratedAlwaysError):
        await conn.execute("update public.workspace_threads_posts set reply_rate = 99")


async def test_an_account_has_one_live_primary_token(conn: Connection, tenant: Tenant) -> None:
    add = (
        "insert into public.workspace_threads_tokens "
        "(workspace_threads_account_id, access_token_encrypted, expires_at, is_primary) "
        "values ($1, 'sealed', now() + interval '60 days', $2)"
    )
    await conn.execute(add, tenant.account, False)
    with pytest.raises(asyncpg.UniqueViolationError):
        await conn.execute(add, tenant.account, True)
    await conn.execute("update public.workspace_threads_tokens set revoked_at = now() where id = $1", tenant.token)
    await conn.execute(add, tenant.account, True)


async def test_a_post_cannot_stand_in_another_workspace_than_its_account(conn: Connection, tenant: Tenant) -> None:
    other = await make_tenant(conn, "south")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await conn.execute(ADD_POST, other.workspace, tenant.account, "p")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await conn.execute(
            "update public.workspace_threads_accounts set workspace_id = $1 where id = $2",
            other.workspace,
            tenant.account,
        )


async def test_one_threads_account_may_stand_in_many_workspaces_but_once_in_each(
    conn: Connection, tenant: Tenant
) -> None:
    other = await make_tenant(conn, "south")
    again = (
        "insert into public.workspace_threads_accounts (workspace_id, threads_user_id, username) "
        "values ($1, 'north-user', 'n')"
    )
    await conn.execute(again, other.workspace)
    with pytest.raises(asyncpg.UniqueViolationError):
        await conn.execute(again, tenant.workspace)


async def test_a_post_is_known_once_per_account(conn: Connection, tenant: Tenant) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await conn.execute(ADD_POST, tenant.workspace, tenant.account, "north-post")


@pytest.mark.parametrize(
    "change",
    ["token_status = 'fine'", "disabled_steps = '{sync_everything}'", "min_sync_interval = '0 s'"],
)
async def test_words_that_mean_nothing_are_refused(conn: Connection, tenant: Tenant, change: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await conn.execute(f"update public.workspace_threads_accounts set {change}")


async def test_deleting_a_workspace_takes_everything_in_it(conn: Connection, tenant: Tenant) -> None:
    other = await make_tenant(conn, "south")
    await conn.execute("delete from public.workspaces where id = $1", tenant.workspace)
    for table in ("workspace_members", "workspace_threads_accounts", "workspace_threads_posts", "sync_logs"):
        assert {r[0] for r in await conn.fetch(f"select workspace_id from public.{table}")} == {other.workspace}, table
    assert [r[0] for r in await conn.fetch("select id from public.workspace_threads_tokens")] == [other.token]


async def test_deleting_a_user_leaves_what_he_connected(conn: Connection, tenant: Tenant) -> None:
    await conn.execute("delete from auth.users where id = $1", tenant.owner)
    assert await conn.fetchval("select created_by_user_id is null from public.workspaces")
    assert await conn.fetchval("select authorized_by_user_id is null from public.workspace_threads_tokens")
    assert await conn.fetchval("select count(*) from public.workspace_members") == 3


async def test_updated_at_follows_every_change(conn: Connection, tenant: Tenant) -> None:
    for table in ("workspaces", "workspace_threads_accounts", "workspace_threads_posts", "profiles"):
        await conn.execute(f"update public.{table} set updated_at = '2001-01-01'")
        await conn.execute(f"update public.{table} set created_at = created_at")
        assert await conn.fetchval(f"select bool_and(updated_at > now() - interval '1 hour') from public.{table}"), (
            table
        )


async def test_writing_metrics_touches_no_index(conn: Connection, tenant: Tenant) -> None:
    """Layer 3 is rewritten every run; a HOT update leaves every index alone, if none mentions what changes."""
    for table in ("workspace_threads_accounts", "workspace_threads_posts"):
        rows = await conn.fetch("select indexdef from pg_indexes where tablename = $1", table)
        assert len(rows) >= 3
        for changing in ("current_", "last_", "updated_at", "token_", *RATES):
            assert not [r["indexdef"] for r in rows if changing in r["indexdef"]]
