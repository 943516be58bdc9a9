"""Everybody tries every table: what is not listed as open in rights.py is refused or finds nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.schema import rights
from tests.schema.attack.tables import PERSONS, REFUSED, SERVERS, TENANTS, all_tables, readable, writable
from tests.schema.attack.world import World, tries
from tidemill.postgres import Connection

NO_COPY_UNDER_RLS = "0A000"

ALWAYS_REFUSED = (
    "truncate {t}",
    "alter table {t} disable row level security",
    "alter table {t} no force row level security",
    "create policy mine on {t} using (true)",
    "create trigger mine before update on {t} for each row execute function suppress_redundant_updates_trigger()",
    "create index on {t} ({c})",
    "comment on table {t} is 'mine'",
    "drop table {t}",
)


async def test_the_world_has_rows_of_both_tenants_wherever_a_tenant_reads(conn: Connection, world: World) -> None:
    """Else what is not seen below would prove nothing."""
    for table in await all_tables(conn):
        if table.name in rights.READ or table.name in rights.READ_PARTS:
            seen = {row[0] for row in await conn.fetch(f"select {table.leader} from public.{table.name}")}
            for tenant in ("member", "other admin"):
                assert seen & world.ids(tenant), table.name


@pytest.mark.parametrize("person", PERSONS)
async def test_whoever_reads_a_table_sees_only_what_is_his(conn: Connection, world: World, person: str) -> None:
    tables = await all_tables(conn)
    async with world.acting(conn, person):
        answers = await tries(conn, (f"select * from {table.name}" for table in tables))
        for table, (_, answer) in zip(tables, answers, strict=True):
            assert (answer == REFUSED) is not readable(table, person), (table.name, answer)
            if person in TENANTS and (readable(table, person) or table.name in rights.READ_PARTS):
                seen = {row[0] for row in await conn.fetch(f"select {table.leader} from public.{table.name}")}
                assert seen <= world.ids(person), table.name
                assert seen or (table.name, person) == ("connector_credentials", "member"), table.name


@pytest.mark.parametrize("person", TENANTS)
async def test_a_column_that_is_not_listed_cannot_be_read_in_any_way(
    conn: Connection, world: World, person: str
) -> None:
    """Neither named, nor by the row as a whole, nor by a condition, an order or a count of it."""
    for table in await all_tables(conn):
        if table.name not in rights.READ_PARTS:
            continue
        closed = set(table.columns) - rights.READ_PARTS[table.name]
        assert closed
        attempts = [
            form.format(t=table.name, c=column)
            for column in closed
            for form in (
                "select {c} from {t}",
                "select count({c}) from {t}",
                "select from {t} where {c} is null",
                "select from {t} order by {c}",
            )
        ]
        attempts += [f"select t from {table.name} as t", f"select to_jsonb(t) from {table.name} as t"]
        async with world.acting(conn, person):
            assert {answer for _, answer in await tries(conn, attempts)} == {REFUSED}


@pytest.mark.parametrize("person", PERSONS)
async def test_every_write_that_is_not_listed_is_refused(conn: Connection, world: World, person: str) -> None:
    tables = await all_tables(conn)
    attempts: list[tuple[str, set[str]]] = []
    for table in tables:
        mayset: dict[str, set[str]] = {"insert": set(), "update": set()}
        if person in TENANTS:
            mayset = {"insert": rights.INSERT.get(table.name, set()), "update": rights.UPDATE.get(table.name, set())}
        may_delete = writable(table, person) or (person in TENANTS and table.name in rights.DELETE)
        if not writable(table, person):
            for column in table.columns:
                if column not in mayset["insert"]:
                    attempts.append((f'insert into {table.name} ("{column}") values (default)', table.refusals))
                if column not in mayset["update"]:
                    attempts.append((f'update {table.name} set "{column}" = default where false', table.refusals))
        if not may_delete:
            attempts.append((f"delete from {table.name} where false", table.refusals))
            attempts.append((f"lock table {table.name} in access exclusive mode", {REFUSED}))
        if table.kind != "v":
            attempts += [(form.format(t=table.name, c=table.columns[0]), {REFUSED}) for form in ALWAYS_REFUSED]
    if person not in SERVERS:
        assert len(attempts) > 1000
    async with world.acting(conn, person):
        answers = await tries(conn, (statement for statement, _ in attempts))
    wrong = [said for said, (_, allowed) in zip(answers, attempts, strict=True) if said[1] not in allowed]
    assert wrong == []


@pytest.mark.parametrize("person", PERSONS)
async def test_copy_gives_and_takes_no_more_than_a_query(conn: Connection, world: World, person: str) -> None:
    for table in await all_tables(conn):
        schema, _, name = table.name.rpartition(".")
        where: dict[str, Any] = {"schema_name": schema or "public"}
        async with world.acting(conn, person):
            out = await _copied(conn.copy_from_query(f'select "{table.columns[0]}" from {table.name}', output=_ignore))
            parts = person in TENANTS and table.name in rights.READ_PARTS
            assert (out == REFUSED) is not (readable(table, person) or parts), (table.name, out)
        if table.kind == "v":
            continue
        async with world.acting(conn, person):
            columns = sorted(rights.INSERT.get(table.name, ())) if person in TENANTS else None
            into = await _copied(conn.copy_to_table(name, source=_nothing(), columns=columns or None, **where))
        if writable(table, person):
            assert into == ("COPY 0" if person == "service_role" else NO_COPY_UNDER_RLS), table.name
        else:
            assert into == (NO_COPY_UNDER_RLS if columns else REFUSED), table.name


async def _copied(copying: Any) -> str:
    try:
        return await copying
    except asyncpg.PostgresError as e:
        return str(e.sqlstate)


async def _ignore(data: bytes) -> None: ...


async def _nothing() -> AsyncIterator[bytes]:
    for data in ():
        yield data
