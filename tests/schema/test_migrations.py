"""The files themselves: from zero, again, by whom, and beside what is there already."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.conftest import administer, made_database, with_database
from tests.schema.conftest import API_ROLES, SUPERUSER, Owner, acting
from tidemill.postgres import Connection, check, connect, migrate
from tidemill.postgres.migrate import migrations

# What another migration may have changed since, or what no schema comparison should look at.
_SHAPE = """
select string_agg(line, e'\n' order by line) from (
  select format('column %s.%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
                pg_get_expr(d.adbin, d.adrelid)) as line
  from pg_attribute a join pg_class c on c.oid = attrelid
  left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
  where attnum > 0 and not attisdropped and c.relkind in ('r', 'p', 'v')
    and c.relnamespace::regnamespace::text in ('public', 'tidemill')
  union all select pg_get_indexdef(indexrelid) from pg_index
    where indrelid in (select oid from pg_class where relnamespace::regnamespace::text in ('public', 'tidemill'))
  union all select format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
    where connamespace::regnamespace::text in ('public', 'tidemill')
  union all select format('%s %s %s %s %s', polrelid::regclass, polname, polcmd, pg_get_expr(polqual, polrelid),
                          array(select r::regrole::text from unnest(polroles) r order by 1)) from pg_policy
  union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
  union all select format('%s %s %s', oid::regprocedure, prosecdef, proacl) from pg_proc
    where pronamespace::regnamespace::text in ('public', 'tidemill')
  union all select format('%s %s', oid::regclass, relacl) from pg_class
    where relnamespace::regnamespace::text in ('public', 'tidemill')
) as everything
"""


async def apply_all(conn: Connection) -> None:
    for migration in migrations():
        async with conn.transaction():
            await conn.execute(migration.sql)


async def test_every_file_can_run_twice_and_changes_nothing_the_second_time(fresh: Connection) -> None:
    before = await fresh.fetchval(_SHAPE)
    await apply_all(fresh)
    assert await fresh.fetchval(_SHAPE) == before


async def test_the_ledger_knows_every_file_and_who_applied_it(conn: Connection, owner: Owner, shared_url: str) -> None:
    assert (await check(shared_url)).is_current
    assert await conn.fetch("select distinct applied_by from tidemill.schema_migrations") == [(owner.role,)]


async def test_the_owner_can_take_every_api_role(conn: Connection) -> None:
    for role in API_ROLES:
        async with acting(conn, role):
            assert await conn.fetchval("select current_user") == role


async def test_no_file_depends_on_an_extension(conn: Connection) -> None:
    assert await conn.fetch("select extname from pg_extension where extname <> 'plpgsql'") == []


@pytest.mark.parametrize("table", ["profiles", "workspace_threads_posts", "sync_logs", "rate_limit_counters"])
async def test_a_table_of_the_applications_own_is_refused_and_left_alone(empty_database_url: str, table: str) -> None:
    conn = await connect(empty_database_url)
    try:
        await conn.execute(f"create table public.{table} (theirs int)")
        with pytest.raises(asyncpg.DuplicateTableError, match=rf"public\.{table} exists already"):
            await apply_all(conn)
        assert await conn.fetchval("select relrowsecurity from pg_class where oid = $1::regclass", table) is False
    finally:
        conn.terminate()


async def test_roles_and_auth_helpers_that_exist_are_left_as_they_are(empty_database_url: str) -> None:
    conn = await connect(empty_database_url)
    try:
        await conn.execute("""
            create schema auth;
            create table auth.users (id uuid primary key, email varchar(255), aud text);
            create function auth.uid() returns uuid language sql stable as
                $$ select '00000000-0000-4000-8000-000000000001'::uuid $$;
        """)
        roles = "select rolname, rolbypassrls, rolinherit, rolcanlogin from pg_roles where rolname = any($1) order by 1"
        before = await conn.fetch(roles, API_ROLES)
        await apply_all(conn)
        assert await conn.fetchval("select auth.uid()::text") == "00000000-0000-4000-8000-000000000001"
        assert (
            await conn.fetchval(
                "select count(*) from pg_attribute where attrelid = 'auth.users'::regclass and attnum > 0"
            )
            == 3
        )
        assert await conn.fetchval("select relrowsecurity from pg_class where oid = 'auth.users'::regclass") is False
        assert before in ([], await conn.fetch(roles, API_ROLES))
    finally:
        conn.terminate()


PUBLISHED = {"integration_connectors", "sync_jobs", "sync_notifications", "sync_run_logs"}


@pytest.mark.parametrize("form", ["", "for all tables", "of somebody else's"])
async def test_realtimes_publication_gets_the_tables_that_tenants_watch_where_it_may_be_changed(
    owner: Owner, server_url: str, form: str
) -> None:
    with made_database(server_url, owner.url) as url:
        name = urlsplit(url).path.removeprefix("/")
        clause = form if form.startswith("for") else ""
        superuser_url = with_database(server_url, name)
        await administer(superuser_url, f"create publication supabase_realtime {clause}")
        may = form == "" or owner.kind == SUPERUSER
        if form == "":
            await administer(superuser_url, f"alter publication supabase_realtime owner to {owner.role}")
        await migrate(url)
        conn = await connect(superuser_url)
        try:
            published = {
                row[0]
                for row in await conn.fetch(
                    "select tablename from pg_publication_tables where schemaname = 'public' "
                    "and pubname = 'supabase_realtime'"
                )
            }
        finally:
            conn.terminate()
        if form == "for all tables":
            assert published > PUBLISHED
        else:
            assert published == (PUBLISHED if may else set())
