"""Who sees and changes what, through the real roles on the real tables."""

from __future__ import annotations

from uuid import UUID

import asyncpg
import pytest

from tests.schema.conftest import Tenant, acting, make_tenant, refused, user
from tests.schema.rights import READ
from tidemill.postgres import Connection

NOBODY_READS = {"workspace_threads_tokens", "system_job_logs", "system_job_locks", "rate_limit_counters"}

OF_A_WORKSPACE = {
    "workspaces": ("id", 1),
    "workspace_members": ("workspace_id", 4),
    "workspace_threads_accounts": ("workspace_id", 1),
    "workspace_threads_posts": ("workspace_id", 1),
    "sync_logs": ("workspace_id", 1),
}

WRITES = [
    "insert into public.workspaces (name) values ('theirs')",
    "update public.workspaces set name = 'changed'",
    "delete from public.workspaces",
    "insert into public.workspace_members (workspace_id, user_id, role, joined_at) "
    "values (gen_random_uuid(), gen_random_uuid(), 'owner', now())",
    "update public.workspace_members set role = 'owner'",
    "delete from public.workspace_members",
    "update public.workspace_threads_accounts set is_active = false",
    "update public.workspace_threads_accounts set current_followers_count = 1000000",
    "delete from public.workspace_threads_accounts",
    "update public.workspace_threads_posts set current_likes = 1000000",
    "delete from public.workspace_threads_posts",
    "update public.sync_logs set status = 'completed', completed_at = now()",
    "delete from public.sync_logs",
    "truncate public.sync_logs",
    "update public.companies set status = 'active'",
    "update public.profiles set email = 'x'",
    "delete from public.workspace_threads_tokens",
    "insert into public.system_job_logs (job_type) values ('scheduled_sync')",
    "insert into public.rate_limit_counters (key, count, reset_at) values ('k', 1, now())",
]

INTERNAL = [
    "select * from tidemill.schema_migrations",
    "select * from tidemill.clock",
    "select * from tidemill.setting",
    "select tidemill.now()",
    "select tidemill.set_clock(now())",
    "select tidemill.advance_clock('1 day')",
    "select tidemill.lock_clock()",
    "select tidemill.reset_clock()",
    "select tidemill.secret_setting('CRON_SECRET')",
    "select * from public.check_rate_limit('k', 1, 1)",
    "select public.trigger_edge_function('scheduled-sync')",
]


@pytest.fixture
async def pair(conn: Connection) -> tuple[Tenant, Tenant]:
    """Two workspaces that must never see one another."""
    return await make_tenant(conn, "north"), await make_tenant(conn, "south")


async def visible(conn: Connection, table: str, column: str) -> list[UUID]:
    return [r[0] for r in await conn.fetch(f"select {column} from public.{table}")]


@pytest.mark.parametrize("person", ["owner", "editor", "viewer"])
async def test_a_member_sees_the_rows_of_his_workspace_and_no_others(
    conn: Connection, pair: tuple[Tenant, Tenant], person: str
) -> None:
    mine, _ = pair
    async with acting(conn, "authenticated", user(getattr(mine, person))):
        for table, (column, count) in OF_A_WORKSPACE.items():
            assert await visible(conn, table, column) == [mine.workspace] * count, table
        assert await visible(conn, "profiles", "id") == [getattr(mine, person)]


async def test_asking_for_another_workspace_by_its_id_gives_nothing(
    conn: Connection, pair: tuple[Tenant, Tenant]
) -> None:
    mine, other = pair
    async with acting(conn, "authenticated", user(mine.owner)):
        for table, (column, _) in OF_A_WORKSPACE.items():
            assert await conn.fetch(f"select from public.{table} where {column} = $1", other.workspace) == [], table
        assert await conn.fetchval("select public.is_workspace_member($1)", mine.workspace) is True
        assert await conn.fetchval("select public.is_workspace_member($1)", other.workspace) is False
        assert await conn.fetchval("select public.is_workspace_editor($1)", other.workspace) is False


async def test_a_member_of_two_workspaces_sees_both(conn: Connection, pair: tuple[Tenant, Tenant]) -> None:
    mine, other = pair
    await conn.execute(
        "insert into public.workspace_members (workspace_id, user_id, role, joined_at) "
        "values ($1, $2, 'viewer', now())",
        other.workspace,
        mine.viewer,
    )
    async with acting(conn, "authenticated", user(mine.viewer)):
        assert set(await visible(conn, "workspace_threads_posts", "id")) == {mine.post, other.post}


async def test_an_invitation_that_was_not_taken_gives_nothing(conn: Connection, pair: tuple[Tenant, Tenant]) -> None:
    mine, _ = pair
    async with acting(conn, "authenticated", user(mine.invited)):
        for table in OF_A_WORKSPACE:
            assert await conn.fetch(f"select from public.{table}") == [], table
        assert await conn.fetchval("select public.is_workspace_member($1)", mine.workspace) is False
        assert await conn.fetchval("select public.is_workspace_editor($1)", mine.workspace) is False


async def test_a_member_who_was_removed_sees_nothing_at_once(conn: Connection, pair: tuple[Tenant, Tenant]) -> None:
    mine, _ = pair
    await conn.execute("delete from public.workspace_members where user_id = $1", mine.editor)
    async with acting(conn, "authenticated", user(mine.editor)):
        assert await conn.fetch("select from public.workspace_threads_accounts") == []


@pytest.mark.parametrize("person", ["owner", "editor", "viewer"])
async def test_editors_are_joined_owners_and_editors(
    conn: Connection, pair: tuple[Tenant, Tenant], person: str
) -> None:
    mine, _ = pair
    async with acting(conn, "authenticated", user(getattr(mine, person))):
        assert await conn.fetchval("select public.is_workspace_editor($1)", mine.workspace) is (person != "viewer")


async def test_a_soft_deleted_workspace_is_seen_by_its_owners_only(
    conn: Connection, pair: tuple[Tenant, Tenant]
) -> None:
    mine, _ = pair
    await conn.execute("update public.workspaces set deleted_at = now() where id = $1", mine.workspace)
    for person, rows in ((mine.owner, 1), (mine.editor, 0), (mine.viewer, 0)):
        async with acting(conn, "authenticated", user(person)):
            for table in ("workspaces", "workspace_threads_accounts", "workspace_threads_posts", "sync_logs"):
                assert len(await conn.fetch(f"select from public.{table}")) == rows, table
            assert await conn.fetchval("select public.is_workspace_member($1)", mine.workspace) is bool(rows)
            assert await conn.fetchval("select public.is_workspace_editor($1)", mine.workspace) is False


@pytest.mark.parametrize("person", ["owner", "viewer", "invited"])
async def test_tenants_cannot_write(conn: Connection, pair: tuple[Tenant, Tenant], person: str) -> None:
    async with acting(conn, "authenticated", user(getattr(pair[0], person))):
        assert [sql for sql in WRITES if not await refused(conn, sql)] == []


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_tenants_reach_no_secret_and_nothing_internal(
    conn: Connection, pair: tuple[Tenant, Tenant], role: str
) -> None:
    async with acting(conn, role, user(pair[0].owner)):
        assert [t for t in NOBODY_READS if not await refused(conn, f"select * from public.{t}")] == []
        assert [sql for sql in INTERNAL if not await refused(conn, sql)] == []


async def test_anon_reads_and_writes_nothing_even_with_a_members_claims(
    conn: Connection, pair: tuple[Tenant, Tenant]
) -> None:
    async with acting(conn, "anon", user(pair[0].owner)):
        assert [t for t in READ | NOBODY_READS if not await refused(conn, f"select from public.{t}")] == []
        assert [sql for sql in WRITES if not await refused(conn, sql)] == []
        assert await refused(conn, "select public.is_workspace_member($1)", pair[0].workspace)
        assert await refused(conn, "select public.my_workspace_ids()")


async def test_service_role_reads_and_writes_everything(conn: Connection, pair: tuple[Tenant, Tenant]) -> None:
    async with acting(conn, "service_role", {"role": "service_role"}):
        for table, (_, count) in OF_A_WORKSPACE.items():
            assert len(await conn.fetch(f"select from public.{table}")) == 2 * count, table
        assert len(await conn.fetch("select from public.workspace_threads_tokens")) == 2
        assert len(await conn.fetch("select from public.system_job_logs")) == 2
        assert await conn.execute("update public.workspace_threads_accounts set is_active = false") == "UPDATE 2"
        assert await conn.execute("delete from public.workspaces") == "DELETE 2"
        assert await conn.fetch("select from public.sync_logs") == []
        assert await conn.fetchval("select tidemill.now() is not null")


async def test_service_role_cannot_read_settings_nor_move_the_clock(conn: Connection) -> None:
    async with acting(conn, "service_role", {"role": "service_role"}):
        for sql in ("select * from tidemill.setting", "select tidemill.secret_setting('CRON_SECRET')"):
            assert await refused(conn, sql)
        assert await refused(conn, "select tidemill.set_clock(now())")


async def test_the_owner_sees_every_row_though_row_security_is_forced(
    conn: Connection, pair: tuple[Tenant, Tenant]
) -> None:
    for table, (_, count) in OF_A_WORKSPACE.items():
        assert len(await conn.fetch(f"select from public.{table}")) == 2 * count, table


@pytest.mark.parametrize(
    "claims",
    [
        None,
        "",
        {},
        {"role": "authenticated"},
        {"sub": None},
        {"sub": ""},
        {"sub": "not-a-uuid"},
        {"sub": 7},
        {"sub": ["a", "list"]},
        {"sub": "5b2d1a7e-3c64-4f0a-9b8e-6f1c2d3e4a5b or true"},
        {"sub": "5b2d1a7e-3c64-4f0a-9b8e-6f1c2d3e4a5b"},
        [],
        "null",
        '"text"',
    ],
    ids=repr,
)
async def test_claims_that_name_no_member_see_nothing(
    conn: Connection, pair: tuple[Tenant, Tenant], claims: object
) -> None:
    async with acting(conn, "authenticated", claims):
        for table in READ:
            assert await conn.fetch(f"select from public.{table}") == [], table


async def test_claims_that_are_not_json_are_an_error_and_show_nothing(
    conn: Connection, pair: tuple[Tenant, Tenant]
) -> None:
    async with acting(conn, "authenticated", "{not json"):
        with pytest.raises(asyncpg.InvalidTextRepresentationError):
            await conn.fetch("select from public.workspace_threads_posts")


async def test_claims_of_one_transaction_are_gone_in_the_next(conn: Connection, pair: tuple[Tenant, Tenant]) -> None:
    """What is left behind is '' and not NULL, which a bare cast would choke on."""
    async with acting(conn, "authenticated", user(pair[0].owner)):
        assert await conn.fetch("select from public.workspaces") != []
    async with acting(conn, "authenticated"):
        assert await conn.fetchval("select current_setting('request.jwt.claims', true)") == ""
        assert await conn.fetch("select from public.workspaces") == []


async def test_policies_use_the_tenants_index(conn: Connection, pair: tuple[Tenant, Tenant]) -> None:
    await conn.execute("""
        with others as (
            insert into public.workspaces (name) select 'w' || n from generate_series(1, 200) n returning id
        ), accounts as (
            insert into public.workspace_threads_accounts (workspace_id, threads_user_id, username)
            select id, 'u', 'u' from others returning workspace_id, id
        )
        insert into public.workspace_threads_posts
            (workspace_id, workspace_threads_account_id, threads_post_id, published_at)
        select workspace_id, id, 'p' || n, now() - n * interval '1 hour' from accounts, generate_series(1, 25) n
    """)
    await conn.execute("analyze public.workspace_threads_posts")
    async with acting(conn, "authenticated", user(pair[0].owner)):
        rows = await conn.fetch("explain (costs off) select * from public.workspace_threads_posts")
    plan = "\n".join(r[0] for r in rows)
    assert "InitPlan" in plan
    assert "Index Cond: (workspace_id = ANY" in plan
