"""The migration runner, on the real migrations and on small ones of its own."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.postgres.proxy import Proxy
from tidemill.errors import DatabaseUnavailable, InvalidInput
from tidemill.postgres import Connection, Migration, MigrationFailed, check, connect, export, migrate, plan
from tidemill.postgres.migrate import migrations

runner = importlib.import_module("tidemill.postgres.migrate")  # the package's attribute of this name is the function

LEDGER = """
create schema if not exists tidemill;
create table if not exists tidemill.schema_migrations (
  version text primary key, name text not null, sha256 text,
  applied_at timestamptz default clock_timestamp(), applied_by text default current_user
);
"""


def migration(version: int, sql: str, *, name: str = "step", records: bool = True) -> Migration:
    digits = f"{version:014}"
    if records:
        sql += (
            "\ninsert into tidemill.schema_migrations (version, name) "
            f"values ('{digits}', '{name}') on conflict do nothing;\n"
        )
    return Migration(digits, name, sql, hashlib.sha256(sql.encode()).hexdigest())


Ship = Callable[..., None]


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Let the package contain these migrations and no others."""
    return lambda *found: monkeypatch.setattr(runner, "migrations", lambda: found)


@pytest.fixture
async def conn(empty_database_url: str) -> AsyncIterator[Connection]:
    opened = await connect(empty_database_url)
    yield opened
    await opened.close(timeout=10)


async def test_a_fresh_database_gets_everything_and_a_second_run_does_nothing(
    empty_database_url: str, conn: Connection
):
    shipped = migrations()
    assert await plan(empty_database_url) == list(shipped)
    assert await migrate(empty_database_url) == list(shipped)
    rows = await conn.fetch("select version, name, sha256 from tidemill.schema_migrations order by version")
    assert [tuple(row) for row in rows] == [(m.version, m.name, m.sha256) for m in shipped]
    assert await migrate(empty_database_url) == []
    state = await check(empty_database_url)
    assert state.is_current
    assert (state.pending, state.drifted, state.unknown) == ((), (), ())


async def test_the_files_are_named_the_supabase_way():
    for m in migrations():
        assert len(m.version) == 14
        assert m.version.isdecimal()
        assert m.name.isidentifier()
    assert len({m.version for m in migrations()}) == len(migrations()) > 0


async def test_runners_that_start_at_once_apply_each_file_once(empty_database_url: str, ship: Ship):
    ship(migration(1, LEDGER + "create table one (n int);"), migration(2, "create table two (n int);"))
    done = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert sorted(len(applied) for applied in done) == [0, 0, 0, 2]


async def test_until_stops_after_that_version(empty_database_url: str, ship: Ship):
    first, second = migration(1, LEDGER), migration(2, "create table two (n int);")
    ship(first, second)
    with pytest.raises(InvalidInput, match="until"):
        await migrate(empty_database_url, until="3")
    assert await migrate(empty_database_url, until=first.version) == [first]
    assert await plan(empty_database_url) == [second]
    assert await migrate(empty_database_url) == [second]


async def test_a_file_that_fails_leaves_nothing_of_itself_and_keeps_those_before(
    empty_database_url: str, conn: Connection, ship: Ship
):
    first = migration(1, LEDGER)
    ship(first, migration(2, "create table two (n int);\nselect no_such_column;"))
    with pytest.raises(MigrationFailed, match=r"00000000000002_step\.sql.*no_such_column.*line 2"):
        await migrate(empty_database_url)
    assert await conn.fetchval("select to_regclass('two') is null")
    assert (await check(empty_database_url)).applied == (first.version,)


async def test_a_file_that_does_not_record_itself_is_refused(empty_database_url: str, conn: Connection, ship: Ship):
    ship(migration(1, LEDGER), migration(2, "create table two (n int);", records=False))
    with pytest.raises(MigrationFailed, match="recording itself"):
        await migrate(empty_database_url)
    assert await conn.fetchval("select to_regclass('two') is null")


async def test_a_file_changed_after_it_was_applied_is_reported_and_stops_the_runner(
    empty_database_url: str, ship: Ship
):
    ship(migration(1, LEDGER))
    await migrate(empty_database_url)
    changed = migration(1, LEDGER + "-- changed")
    ship(changed, migration(2, "create table two (n int);"))
    state = await check(empty_database_url)
    assert state.drifted == (changed.version,)
    assert not state.is_current
    with pytest.raises(MigrationFailed, match="is not the file that was applied"):
        await migrate(empty_database_url)


async def test_a_file_applied_by_another_tool_is_accepted_and_its_checksum_filled_in(
    empty_database_url: str, conn: Connection, ship: Ship
):
    first, second = migration(1, LEDGER), migration(2, "create table two (n int);")
    ship(first, second)
    await conn.execute(first.sql)
    assert (await check(empty_database_url)).applied == (first.version,)
    assert await migrate(empty_database_url) == [second]
    assert await conn.fetchval("select sha256 from tidemill.schema_migrations order by version") == first.sha256


async def test_a_version_from_a_newer_release_is_reported_and_left_alone(
    empty_database_url: str, conn: Connection, ship: Ship
):
    ship(migration(1, LEDGER))
    await migrate(empty_database_url)
    await conn.execute(migration(9, "select 1;").sql)
    state = await check(empty_database_url)
    assert state.unknown == (f"{9:014}",)
    assert state.is_current
    assert await migrate(empty_database_url) == []


async def test_a_marked_file_runs_outside_a_transaction(empty_database_url: str, conn: Connection, ship: Ship):
    alone = "-- tidemill: no-transaction\ncreate index concurrently if not exists t_n on t (n);"
    ship(migration(1, LEDGER + "create table t (n int);"), migration(2, alone))
    assert len(await migrate(empty_database_url)) == 2
    assert await conn.fetchval("select indisvalid from pg_index where indexrelid = 't_n'::regclass")
    assert await conn.fetchval("select count(sha256) from tidemill.schema_migrations") == 2


async def test_a_lock_held_by_another_is_not_waited_for_long(
    empty_database_url: str, conn: Connection, ship: Ship, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT_S", 1)
    ship(migration(1, LEDGER + "create table t (n int);"))
    await migrate(empty_database_url)
    ship(migration(1, LEDGER + "create table t (n int);"), migration(2, "alter table t add m int;"))
    async with conn.transaction():
        await conn.execute("select * from t")
        with pytest.raises(MigrationFailed, match="waited 1 s for a lock"):
            await migrate(empty_database_url)
    assert len(await migrate(empty_database_url)) == 1


async def test_a_connection_lost_on_the_way_is_unavailable(empty_database_url: str, ship: Ship):
    ship(migration(1, LEDGER), migration(2, "select pg_terminate_backend(pg_backend_pid());"))
    async with Proxy(empty_database_url) as proxy:
        with pytest.raises(DatabaseUnavailable):
            await migrate(proxy.url)


def test_export_copies_the_files_and_never_overwrites_another_s(tmp_path: Path):
    folder = tmp_path / "supabase" / "migrations"
    written = export(folder)
    assert [p.name for p in written] == [m.filename for m in migrations()]
    assert [p.read_bytes() for p in written] == [m.sql.encode() for m in migrations()]
    assert export(folder) == []
    written[0].unlink()
    written[-1].write_text("-- mine")
    with pytest.raises(InvalidInput, match=written[-1].name):
        export(folder)
    assert not written[0].exists()
    assert written[-1].read_text() == "-- mine"
