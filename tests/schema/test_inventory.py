"""What must hold for every table and function there is, so that the next migration cannot forget it."""

from __future__ import annotations

from tests.schema.conftest import Owner
from tidemill.postgres import Connection, connect
from tidemill.postgres.migrate import migrations

_TABLES = """
select c.oid, c.oid::regclass::text as name, c.relispartition, c.relrowsecurity, c.relforcerowsecurity
from pg_class c where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('public', 'tidemill')
"""
_FUNCTIONS = """
select p.oid, p.oid::regprocedure::text as name, p.pronamespace::regnamespace::text as schema, p.prosecdef, p.proconfig
from pg_proc p where p.pronamespace::regnamespace::text in ('public', 'tidemill')
"""
_WRITING = "insert, update, delete, truncate, references, trigger"
_COLUMN_WRITING = "insert, update, references"

MEMBERS_READ = {
    "companies",
    "profiles",
    "workspaces",
    "workspace_members",
    "workspace_threads_accounts",
    "workspace_threads_posts",
    "sync_logs",
}
NOBODY_READS = {"workspace_threads_tokens", "system_job_logs", "system_job_locks", "rate_limit_counters"}


async def test_every_table_has_row_security_enabled_and_forced(conn: Connection) -> None:
    rows = await conn.fetch(_TABLES)
    assert len(rows) > 10
    assert [r["name"] for r in rows if not (r["relrowsecurity"] and r["relforcerowsecurity"])] == []


async def test_every_table_lets_service_role_and_the_owner_through_by_policy(conn: Connection, owner: Owner) -> None:
    for role in ("service_role", owner.role):
        missing = await conn.fetch(
            f"select name from ({_TABLES}) as t where not exists (select from pg_policy where polrelid = t.oid "
            "and polcmd = '*' and $1::regrole::oid = any (polroles) and pg_get_expr(polqual, polrelid) = 'true' "
            "and pg_get_expr(polwithcheck, polrelid) = 'true')",
            role,
        )
        assert [r["name"] for r in missing] == []


async def test_no_role_meets_two_permissive_policies_for_one_command(conn: Connection) -> None:
    doubled = await conn.fetch("""
        select p.polrelid::regclass::text, r.role::regrole::text, c.command
        from pg_policy p
        cross join lateral unnest(p.polroles) as r (role)
        cross join lateral unnest(
            case p.polcmd when '*' then array['r', 'a', 'w', 'd'] else array[p.polcmd::text] end
        ) as c (command)
        where p.polpermissive group by 1, 2, 3 having count(*) > 1
    """)
    assert doubled == []


async def test_no_policy_is_for_public_or_anon(conn: Connection) -> None:
    assert (
        await conn.fetch("select polname from pg_policy where 0 = any (polroles) or 'anon'::regrole = any (polroles)")
        == []
    )


async def test_policies_call_functions_once_per_query(conn: Connection) -> None:
    """A bare call is evaluated for every row of a sequential scan: 25 times slower over a million rows."""
    for row in await conn.fetch("select polname, pg_get_expr(polqual, polrelid) as using from pg_policy"):
        for called in ("current_company_id(", "has_role(", "my_workspace_ids(", "is_workspace_", "auth.uid("):
            assert called not in row["using"] or f"SELECT {called}" in row["using"].replace("public.", ""), row[
                "polname"
            ]


async def test_every_table_and_column_has_a_comment(conn: Connection) -> None:
    bare_tables = await conn.fetch(
        f"select name from ({_TABLES}) as t where not relispartition and obj_description(oid) is null"
    )
    assert [r["name"] for r in bare_tables] == []
    bare_columns = await conn.fetch(
        f"select t.name, a.attname from ({_TABLES}) as t join pg_attribute a on a.attrelid = t.oid "
        "where not t.relispartition and a.attnum > 0 and not a.attisdropped "
        "and col_description(t.oid, a.attnum) is null"
    )
    assert [f"{r['name']}.{r['attname']}" for r in bare_columns] == []


async def test_anon_may_do_nothing_at_all(conn: Connection) -> None:
    assert await reachable(conn, "anon", "select, " + _WRITING, "select, " + _COLUMN_WRITING) == set()
    assert not await conn.fetchval("select has_schema_privilege('anon', 'tidemill', 'usage')")
    callable_ = await conn.fetch(
        f"select name from ({_FUNCTIONS}) as f where has_function_privilege('anon', oid, 'execute')"
    )
    assert [r["name"] for r in callable_] == []


async def test_tenants_read_what_is_theirs_and_write_nothing(conn: Connection) -> None:
    assert not await conn.fetchval("select has_schema_privilege('authenticated', 'tidemill', 'usage')")
    assert await reachable(conn, "authenticated", _WRITING, _COLUMN_WRITING) == set()
    readable = await reachable(conn, "authenticated", "select", "select")
    assert readable >= MEMBERS_READ
    assert not readable & NOBODY_READS


async def reachable(conn: Connection, role: str, rights: str, column_rights: str) -> set[str]:
    """Tables on which, or on any column of which, the role holds any of these rights."""
    rows = await conn.fetch(
        f"select name from ({_TABLES}) as t "
        "where has_table_privilege($1, oid, $2) or has_any_column_privilege($1, oid, $3)",
        role,
        rights,
        column_rights,
    )
    return {r["name"] for r in rows}


async def test_definer_functions_pin_their_search_path_and_are_not_for_the_public(conn: Connection) -> None:
    for row in await conn.fetch(
        f"select *, has_function_privilege('anon', oid, 'execute') as open from ({_FUNCTIONS}) as f where prosecdef"
    ):
        assert any(setting.startswith("search_path=") for setting in row["proconfig"] or ()), row["name"]
        assert not row["open"], row["name"]


async def test_every_function_of_the_exposed_schema_pins_its_search_path(conn: Connection) -> None:
    loose = await conn.fetch(
        f"select name from ({_FUNCTIONS}) as f where schema = 'public' "
        "and not coalesce(proconfig::text, '') like '%search_path=%'"
    )
    assert [r["name"] for r in loose] == []


async def test_tenants_call_only_the_functions_meant_for_them(conn: Connection) -> None:
    rows = await conn.fetch(
        f"select name from ({_FUNCTIONS}) as f where has_function_privilege('authenticated', oid, 'execute')"
    )
    assert {r["name"] for r in rows} == {
        "current_company_id()",
        "has_role(text)",
        "my_workspace_ids()",
        "is_workspace_member(uuid)",
        "is_workspace_editor(uuid)",
        "tidemill_enqueue(text,jsonb)",
    }


async def test_default_privileges_as_on_supabase_open_nothing(empty_database_url: str) -> None:
    """Supabase grants ALL on every new table and function of schema public to the API's roles."""
    conn = await connect(empty_database_url)
    try:
        await conn.execute(migrations()[0].sql)
        for things in ("tables", "functions", "sequences"):
            await conn.execute(
                f"alter default privileges in schema public grant all on {things} to anon, authenticated, service_role"
            )
        for migration in migrations():
            await conn.execute(migration.sql)
        await test_anon_may_do_nothing_at_all(conn)
        await test_tenants_read_what_is_theirs_and_write_nothing(conn)
        await test_tenants_call_only_the_functions_meant_for_them(conn)
    finally:
        conn.terminate()
