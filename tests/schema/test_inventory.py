"""What must hold for every table and function there is, so that the next migration cannot forget it."""

from __future__ import annotations

import pytest

from tests.schema import rights
from tests.schema.conftest import Owner
from tests.schema.rights import Cell
from tidemill.postgres import Connection, connect
from tidemill.postgres.migrate import migrations

_TABLES = """
select c.oid, c.oid::regclass::text as name, c.relispartition, c.relrowsecurity, c.relforcerowsecurity
from pg_class c where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('public', 'tidemill')
"""
_CELLS = f"""
select t.name, r.verb, a.name as column
from ({rights.TABLES}) as t
cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as r (verb)
cross join lateral (
    select '*' as name where has_table_privilege($1, t.oid, r.verb)
    union all
    select u.name from unnest(t.columns) as u (name)
    where r.verb in ('select', 'insert', 'update', 'references')
        and not has_table_privilege($1, t.oid, r.verb) and has_column_privilege($1, t.oid, u.name, r.verb)
) as a
"""


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
    bodies = await conn.fetch("""
        select polname, body.text from pg_policy
        cross join lateral unnest(
            array[pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)]
        ) as body (text)
        where body.text is not null
    """)
    assert len(bodies) > 50
    for row in bodies:
        body = row["text"].replace("public.", "")
        for called in ("current_company_id(", "has_role(", "my_workspace_ids(", "is_workspace_", "auth.uid("):
            assert body.count(called) == body.count(f"SELECT {called}"), row["polname"]


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


async def cells(conn: Connection, role: str) -> set[Cell]:
    """What the role may name, and to do what."""
    return {(row["name"], row["verb"], row["column"]) for row in await conn.fetch(_CELLS, role)}


async def callable_by(conn: Connection, role: str) -> set[str]:
    """The functions that the role may call."""
    rows = await conn.fetch(
        f"select name from ({rights.FUNCTIONS}) as f where has_function_privilege($1, oid, 'execute')", role
    )
    return {row["name"] for row in rows}


async def test_anon_may_do_nothing_at_all(conn: Connection) -> None:
    assert await cells(conn, "anon") == set()
    assert await callable_by(conn, "anon") == set()
    assert not await conn.fetchval("select has_schema_privilege('anon', 'tidemill', 'usage')")


async def test_tenants_may_name_the_cells_that_are_listed_and_no_other(conn: Connection) -> None:
    assert await cells(conn, "authenticated") == rights.open_to_tenants()
    assert not await conn.fetchval("select has_schema_privilege('authenticated', 'tidemill', 'usage')")


async def test_service_role_writes_what_is_public_and_nothing_of_the_engines(conn: Connection) -> None:
    tables = {row["name"] for row in await conn.fetch(rights.TABLES)}
    assert await cells(conn, "service_role") == rights.open_to_servers(tables)


async def test_every_role_calls_only_the_functions_meant_for_it(conn: Connection) -> None:
    assert await callable_by(conn, "authenticated") == rights.CALL
    assert await callable_by(conn, "service_role") == rights.SERVER_CALLS


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_no_api_role_owns_makes_or_counts_anything(conn: Connection, role: str) -> None:
    """A sequence read or moved tells of, or harms, what is not the tenant's."""
    for schema in ("public", "tidemill"):
        assert not await conn.fetchval("select has_schema_privilege($1, $2, 'create')", role, schema)
    owned = "select relname from pg_class where relowner = $1::regrole"
    assert await conn.fetch(owned, role) == []
    sequences = await conn.fetch(
        """
        select c.oid::regclass::text as name from pg_class as c
        where c.relnamespace::regnamespace::text in ('public', 'tidemill')
            and case when relkind = 'S' then has_sequence_privilege($1, c.oid, 'usage, select, update') end
    """,
        role,
    )
    assert [row["name"] for row in sequences] == []


async def test_views_read_with_the_rights_of_whoever_asks(conn: Connection) -> None:
    loose = await conn.fetch("""
        select oid::regclass::text as name from pg_class
        where relkind = 'v' and relnamespace = 'public'::regnamespace
            and not coalesce(reloptions, '{}') @> '{security_invoker=true}'
    """)
    assert [row["name"] for row in loose] == []


async def test_definer_functions_pin_their_search_path_and_are_not_for_the_public(conn: Connection) -> None:
    definers = await conn.fetch(
        f"select *, has_function_privilege('anon', oid, 'execute') as open from ({rights.FUNCTIONS}) as f "
        "where prosecdef"
    )
    assert len(definers) > 10
    for row in definers:
        assert any(setting.startswith("search_path=") for setting in row["proconfig"] or ()), row["name"]
        assert not row["open"], row["name"]


async def test_every_function_of_the_exposed_schema_pins_its_search_path(conn: Connection) -> None:
    loose = await conn.fetch(
        f"select name from ({rights.FUNCTIONS}) as f where schema = 'public' "
        "and not coalesce(proconfig::text, '') like '%search_path=%'"
    )
    assert [r["name"] for r in loose] == []


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
        await test_tenants_may_name_the_cells_that_are_listed_and_no_other(conn)
        assert await callable_by(conn, "authenticated") == rights.CALL
    finally:
        conn.terminate()
