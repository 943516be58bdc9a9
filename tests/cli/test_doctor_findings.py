"""doctor on what slows or stops a fleet: each trouble is made for real, found, and gone when it is undone."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cli.support import environ, tidemill
from tests.conftest import administer, run_apart, with_database
from tidemill.cli.doctor import database, schema, storage, work
from tidemill.cli.doctor.finding import Finding
from tidemill.engine.overview import overview
from tidemill.postgres import Database, embedded, migrate
from tidemill.settings import Settings

SETTINGS = Settings()
NAMES = """\
with q as (insert into tidemill.queue (name) values ('mail') returning id)
insert into tidemill.kind (name, queue, timeout) select 'letter', id, interval '1 minute' from q
"""
NODE = """\
insert into tidemill.node (name, pid, expires_at, queues)
values ('host', 7, clock_timestamp() + interval '1 hour', $1) returning id
"""
LEASE = """\
insert into tidemill.job_lease (id, queue, rank, kind, max_attempts, enqueued_at, args, token, node, claimed_at)
select 5, q.id, 0, k.id, 1, now(), '{}', 1, $1::bigint, clock_timestamp() - $2::interval
from tidemill.queue q, tidemill.kind k
"""
READY = """\
insert into tidemill.job_ready (id, queue, rank, kind, max_attempts, enqueued_at, args)
select 6, q.id, 0, k.id, 1, now() - interval '5 minutes', '{}' from tidemill.queue q, tidemill.kind k
"""
KEY = "insert into tidemill.unique_key select id, $1, $2::bigint from tidemill.kind"
STALE_RUN = """\
insert into tidemill.job_run (id, queue, kind, attempt, crashes, outcome, node, started_at, finished_at)
values (1, 1, 1, 1, 0, 'done', 1, now(), '2001-02-03Z')
"""


def level(findings: list[Finding], check: str) -> tuple[str, str]:
    """The level, and all that is said, of one check."""
    [found] = [finding for finding in findings if finding.check == check]
    return found.level, f"{found.text} | {found.fix}"


async def works(db: Database, **options: Any) -> list[Finding]:
    return await work.examine(db, await overview(db), **options)


async def stores(db: Database, **options: Any) -> list[Finding]:
    row, _ = await database.server(db, SETTINGS)
    return await storage.examine(db, row, **options)


async def test_a_healthy_database_has_none_of_them(db: Database) -> None:
    seen = await overview(db)
    row, settings = await database.server(db, SETTINGS)
    findings = [
        settings,
        await database.pooler(SETTINGS, db.url),
        await schema.privileges(db),
        *await schema.examine(db, seen),
        *await database.examine(db, SETTINGS),
        *await storage.examine(db, row),
        *await work.examine(db, seen),
    ]
    assert {f.check for f in findings if f.level != "ok"} == {"workers", "schedule"}  # nobody has started one yet
    looked_at = {"dead rows", "bloat", "autovacuum", "unique keys", "stuck jobs", "queues", "paused", "privileges"}
    assert looked_at < {f.check for f in findings}


async def test_a_pause_is_told_with_who_and_the_command_that_ends_it(db: Database) -> None:
    await db.execute(NAMES)
    await db.execute("update tidemill.queue set paused_at = now(), paused_by = 'ann'")
    found, said = level(await works(db), "paused")
    assert (found, "ann" in said, "tidemill queues resume mail" in said) == ("warn", True, True)
    await db.execute("update tidemill.queue set paused_at = null, paused_by = null")
    await db.execute("update tidemill.kind set paused_at = now(), paused_by = 'bob'")
    assert "tidemill queues resume letter --kind" in level(await works(db), "paused")[1]


async def test_a_queue_that_no_living_worker_serves_is_found_once_jobs_wait_in_it(db: Database) -> None:
    await db.execute(NAMES)
    await db.execute(NODE, ["other"])
    assert level(await works(db), "queues")[0] == "ok"
    await db.execute(READY)
    found, said = level(await works(db), "queues")
    assert (found, "mail" in said) == ("error", True)
    await db.execute(NODE, ["mail"])
    assert level(await works(db), "queues")[0] == "ok"


async def test_sync_jobs_of_a_type_that_no_worker_knows_are_found(db: Database) -> None:
    assert "sync jobs" not in {finding.check for finding in await works(db)}  # without workers that is not the trouble
    await db.execute(NODE, [])
    assert level(await works(db), "sync jobs")[0] == "ok"
    await db.execute(
        "with c as (insert into companies (code, name) values ('a', 'a') returning id),"
        " i as (insert into integration_connectors (company_id, provider) select id, 'sea' from c returning *)"
        " insert into sync_jobs (company_id, connector_id, job_type) select company_id, id, 'count' from i"
    )
    found, said = level(await works(db), "sync jobs")
    assert (found, "'count' (1)" in said, "--status error" in said) == ("warn", True, True)
    await db.execute("insert into tidemill.sync_job_type (name) values ('count')")
    assert level(await works(db), "sync jobs")[0] == "ok"


async def test_a_job_that_a_living_process_holds_for_much_longer_than_it_may_is_found(db: Database) -> None:
    await db.execute(NAMES)
    node = await db.fetchval(NODE, ["mail"])
    await db.execute(LEASE, node, timedelta(minutes=2.5))
    assert level(await works(db), "stuck jobs")[0] == "ok"  # within the grace
    await db.execute("update tidemill.job_lease set claimed_at = claimed_at - interval '10 minutes'")
    found, said = level(await works(db), "stuck jobs")
    assert (found, "job 5 (letter) on host, process 7" in said, "kill -9 7" in said) == ("warn", True, True)


async def test_a_key_whose_job_is_nowhere_is_found_and_the_fix_frees_it(db: Database) -> None:
    await db.execute(NAMES)
    node = await db.fetchval(NODE, ["mail"])
    await db.execute(LEASE, node, timedelta(0))
    await db.execute(READY)
    await db.execute(KEY, "held by 5", 5)
    await db.execute(KEY, "held by 6", 6)
    assert level(await works(db), "unique keys")[0] == "ok"
    await db.execute(KEY, "it's nobody's", 7)
    [found] = [finding for finding in await works(db) if finding.check == "unique keys"]
    assert (found.level, "by job 7 (letter)" in found.text) == ("error", True)
    await db.execute(found.fix.split(";")[0])
    assert level(await works(db), "unique keys")[0] == "ok"
    assert await db.fetchval("select count(*) from tidemill.unique_key") == 2


async def test_partitions_that_end_soon_or_are_missing_and_rows_in_a_default_one_are_found(db: Database) -> None:
    async def partitions() -> list[Finding]:
        return await schema.examine(db, await overview(db))

    await db.execute(STALE_RUN)
    found, said = level(await partitions(), "default partitions")
    assert (found, "job_run_default" in said) == ("warn", True)
    reach = (await overview(db)).partitions["workspace_threads_post_metrics"]
    await db.execute("select tidemill.advance_clock(make_interval(secs => $1))", reach - 86_400)
    found, said = level(await partitions(), "partitions")
    assert (found, "end within 3 days" in said) == ("warn", True)
    await db.execute("select * from tidemill.ensure_partitions()")
    assert level(await partitions(), "partitions")[0] == "ok"


async def test_dead_rows_that_stay_are_found_until_a_vacuum(db: Database) -> None:
    await db.execute("alter table tidemill.job_ready set (autovacuum_enabled = off, autovacuum_vacuum_threshold = 10)")
    await db.execute("alter table tidemill.job_ready set (autovacuum_vacuum_scale_factor = 0)")
    assert level(await stores(db), "autovacuum")[0] == "error"
    await db.execute(NAMES)
    async with db.connection() as conn:  # statistics are told by the session that wrote
        for _ in range(2):
            await conn.execute(READY.replace("select 6,", "select generate_series(1, 500),"))
            await conn.execute("delete from tidemill.job_ready")
        await conn.execute("select pg_stat_force_next_flush()")
        await conn.execute("select 1")
    found, said = level(await stores(db, most_dead=900), "dead rows")
    assert (found, "tidemill.job_ready has 1,000 dead rows" in said, "never vacuumed" in said) == ("warn", True, True)
    assert level(await stores(db), "dead rows")[0] == "ok"  # so few are not worth a word
    await db.execute("alter table tidemill.job_ready reset (autovacuum_enabled)")
    await db.execute("vacuum tidemill.job_ready")
    findings = await stores(db, most_dead=900)
    assert (level(findings, "dead rows")[0], level(findings, "autovacuum")[0]) == ("ok", "ok")


async def test_a_table_that_is_large_for_its_rows_is_found_until_it_is_made_anew(db: Database) -> None:
    await db.execute(NAMES)
    await db.execute(READY.replace("select 6,", "select generate_series(1, 5000),"))
    await db.execute("delete from tidemill.job_ready")
    await db.execute("vacuum tidemill.job_ready")
    found, said = level(await stores(db, large_bytes=400_000), "bloat")
    assert (found, "vacuum full tidemill.job_ready" in said) == ("warn", True)
    await db.execute("vacuum full tidemill.job_ready")
    assert level(await stores(db, large_bytes=400_000), "bloat")[0] == "ok"


@pytest.mark.parametrize(
    ("setting", "value", "pooled", "expected"),
    [
        ("default_transaction_read_only", "on", False, "error"),
        ("default_transaction_isolation", "'repeatable read'", False, "error"),
        ("statement_timeout", "'2s'", False, "warn"),
        ("jit", "on", True, "warn"),
        ("jit", "on", False, "ok"),
    ],
    ids=["read only", "isolation", "statement_timeout", "jit behind a pooler", "jit"],
)
async def test_a_setting_matters_only_where_it_stands_in_the_way(
    setting: str, value: str, pooled: bool, expected: str, database_url: str
) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    await administer(database_url, f"alter database {name} set {setting} = {value}")
    async with await Database.open(database_url, pooled=pooled) as db:
        _, found = await database.server(db, replace(SETTINGS, pooled=pooled))
    assert found.level == expected
    assert expected == "ok" or setting in f"{found.text} {found.fix}"


async def test_a_clock_that_is_off_is_found_as_far_as_the_round_trip_lets_it_be_known(db: Database) -> None:
    def host(moved: timedelta) -> Any:
        return lambda: datetime.now(UTC) + moved

    assert (await database.skew(db, now=host(timedelta(seconds=2)))).level == "ok"
    behind = await database.skew(db, now=host(timedelta(seconds=30)))
    ahead = await database.skew(db, now=host(timedelta(seconds=-30)))
    assert (behind.level, "s behind this host" in behind.text) == ("warn", True)
    assert (ahead.level, "s ahead of this host" in ahead.text) == ("warn", True)

    minute = timedelta(minutes=1)
    times = iter([-minute, minute] * 3)
    slow = await database.skew(db, now=lambda: datetime.now(UTC) + next(times))  # answers took two minutes each
    assert (slow.level, "known to" in slow.text) == ("ok", True)


@pytest.fixture
async def stranger(server_url: str, database_url: str) -> AsyncIterator[Database]:
    """A login that may read and write the tables, but that no policy was made for."""
    role, word = f"stranger_{secrets.token_hex(4)}", secrets.token_hex(8)
    there = with_database(server_url, urlsplit(database_url).path.removeprefix("/"))
    await administer(there, f"create role {role} login password '{word}'")
    await administer(there, f"grant usage on schema tidemill to {role}")
    await administer(there, f"grant select, insert, update, delete on all tables in schema tidemill, public to {role}")
    parts = urlsplit(database_url)
    try:
        async with await Database.open(
            parts._replace(netloc=f"{role}:{word}@{parts.netloc.rpartition('@')[2]}").geturl(), max_size=2
        ) as opened:
            yield opened
    finally:
        await administer(there, f"drop owned by {role}")
        await administer(there, f"drop role {role}")


async def test_a_role_that_row_security_leaves_nothing_to_see_is_found(stranger: Database, db: Database) -> None:
    found = await schema.privileges(stranger)
    assert (found.level, "the policies of" in found.text) == ("error", True)
    assert (await schema.privileges(db)).level == "ok"


async def test_a_right_that_is_missing_and_one_that_tenants_were_given_are_found(
    stranger: Database, db: Database
) -> None:
    role = await stranger.fetchval("select current_user")
    await db.execute(f"revoke insert on tidemill.batch from {role}")
    found = await schema.privileges(stranger)
    assert (found.level, "INSERT on tidemill.batch" in found.text) == ("error", True)
    await db.execute("grant usage on schema tidemill to authenticated")
    found = await schema.privileges(db)
    assert (found.level, "authenticated may use schema tidemill" in found.text) == ("error", True)


@pytest.fixture(scope="module")
def generous() -> Iterator[str]:
    """A server that takes prepared transactions and logical slots; the tests' own takes none of the former."""
    with tempfile.TemporaryDirectory(prefix="tidemill-doctor-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)
        for attempt in range(2):
            server = embedded.attach(Path(directory) / "pg", durable=False, linger=0.2)
            try:
                if attempt == 0:
                    run_apart(administer(server.url, "alter system set max_prepared_transactions = 3"))
                else:
                    run_apart(migrate(server.url))
                    yield server.url
            finally:
                server.release()
                server.wait_until_stopped()


async def test_a_prepared_transaction_and_a_slot_that_hold_vacuum_back_are_found_and_the_fix_ends_them(
    generous: str,
) -> None:
    async with await Database.open(generous, max_size=3) as db:

        async def oldest() -> tuple[str, str]:
            return level(
                await database.examine(db, SETTINGS, long_transaction=timedelta(0), held_back=0), "transactions"
            )

        async with db.connection() as conn:
            await conn.execute("begin; select pg_current_xact_id(); prepare transaction 'forgotten'")
        await db.execute("select pg_current_xact_id()")
        found, said = await oldest()
        assert (found, "prepared transaction 'forgotten'" in said) == ("warn", True)
        await db.execute("rollback prepared 'forgotten'")

        await db.execute("select pg_create_logical_replication_slot('unread', 'pgoutput')")
        for _ in range(3):
            await db.execute("select pg_current_xact_id()")
        found, said = await oldest()
        assert (found, "slot unread (nobody reads it)" in said) == ("warn", True)
        await db.execute(said.rpartition(": ")[2])

        async with db.transaction() as held:
            pid = await held.fetchval("select pg_backend_pid() from tidemill.clock for update")
            await db.execute("select pg_current_xact_id()")
            found, said = await oldest()
            assert (found, f"process {pid} " in said, f"pg_terminate_backend({pid})" in said) == ("warn", True, True)
        settled = await database.examine(db, SETTINGS)
        assert level(settled, "transactions")[0] == "ok"


def test_autovacuum_that_is_off_for_the_server_is_found(generous: str, tmp_path: Path) -> None:
    def autovacuum() -> str:
        env = environ(TIDEMILL_DATABASE_URL=generous)
        said = json.loads(tidemill("doctor", "--json", folder=tmp_path, env=env).stdout)
        return next(f["level"] for f in said["findings"] if f["check"] == "autovacuum")

    run_apart(administer(generous, "alter system set autovacuum = off"))
    run_apart(administer(generous, "select pg_reload_conf()"))
    try:
        assert run_apart(_until_off(generous)), "the server took the setting"
        assert autovacuum() == "error"
    finally:
        run_apart(administer(generous, "alter system reset autovacuum"))
        run_apart(administer(generous, "select pg_reload_conf()"))


async def _until_off(url: str) -> bool:
    async with await Database.open(url, max_size=1) as db:
        for _ in range(3000):
            if await db.fetchval("show autovacuum") == "off":
                return True
            await asyncio.sleep(0.01)
    return False
