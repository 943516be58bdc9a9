"""Everybody tries every function, and functions of his own to overhear others."""

from __future__ import annotations

import pytest

from tests.schema import rights
from tests.schema.attack.tables import PERSONS, REFUSED, SERVERS, TENANTS
from tests.schema.attack.world import World, tries
from tidemill.postgres import Connection


@pytest.mark.parametrize("person", PERSONS)
async def test_every_function_that_is_not_listed_is_refused(conn: Connection, world: World, person: str) -> None:
    listed = rights.CALL if person in TENANTS else rights.SERVER_CALLS if person in SERVERS else set[str]()
    # Arguments from a subquery: a strict function of constants would be computed before anybody asks for rights.
    rows = await conn.fetch("""
        select oid::regprocedure::text as name, format('select %s(%s) from (select %s offset 0) as a', oid::regproc,
            string_agg(case when ord = pronargs and provariadic <> 0 then 'variadic ' else '' end || 'a' || ord, ', '
                order by ord) filter (where type is not null),
            coalesce(string_agg('null::' || format_type(type, null) || ' as a' || ord, ', ' order by ord)
                filter (where type is not null), '')) as call
        from pg_proc left join lateral unnest(proargtypes) with ordinality as a (type, ord) on true
        where pronamespace::regnamespace::text in ('public', 'tidemill') and prokind = 'f'
        group by pg_proc.oid, pronargs, provariadic
    """)
    closed = [row["call"] for row in rows if row["name"] not in listed]
    assert len(closed) > 40
    async with world.acting(conn, person):
        assert [said for said in await tries(conn, closed) if said[1] != REFUSED] == []


@pytest.mark.parametrize("person", TENANTS)
async def test_no_side_channel_tells_of_other_tenants(conn: Connection, world: World, person: str) -> None:
    """Statistics of columns, and functions of one's own that a filter calls before the policy would."""
    async with world.acting(conn, person):
        assert await conn.fetch("select from pg_stats where schemaname in ('public', 'tidemill')") == []
        await conn.execute("""
            create function pg_temp.leak(t text) returns boolean language plpgsql cost 0.0000001 as $$
            begin
                perform set_config('attack.heard', concat(current_setting('attack.heard', true), ' ', t), true);
                return true;
            end $$
        """)
        for table in ("companies", "sync_jobs", "sync_run_logs", "synced_records", "connector_state"):
            leader = "id" if table == "companies" else "company_id"
            await conn.execute(f"select from public.{table} where pg_temp.leak({leader}::text)")
        heard = set((await conn.fetchval("select current_setting('attack.heard', true)")).split())
    own = world.theirs.id if person == "other admin" else world.mine.id
    assert heard == {str(own)}
