"""sync_jobs and what stands around it: the seed's table as it was written, and what its own columns hold to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.schema.companies import Company, make_company
from tests.schema.conftest import acting
from tidemill.postgres import Connection, connect

# Seed 000: name, type, NOT NULL, default, comment.
SEED = [
    ("id", "uuid", True, "gen_random_uuid()", "任务唯一标识"),
    ("company_id", "uuid", True, None, "所属公司"),
    ("connector_id", "uuid", True, None, "连接器"),
    ("job_type", "character varying(30)", True, None, "任务类型（sync、replay、repair 等）"),
    ("payload", "jsonb", True, "'{}'::jsonb", "任务参数"),
    ("schedule", "jsonb", True, "'{}'::jsonb", "调度设置"),
    ("status", "character varying(20)", True, "'idle'::character varying", "当前状态"),
    ("priority", "integer", True, "0", "优先级"),
    ("next_run_at", "timestamp with time zone", False, None, "下次运行时间"),
    ("last_run_at", "timestamp with time zone", False, None, "最近运行时间"),
    ("created_at", "timestamp with time zone", True, "CURRENT_TIMESTAMP", "创建时间"),
    ("updated_at", "timestamp with time zone", True, "CURRENT_TIMESTAMP", "更新时间"),
]
MINE = "(company_id = ( SELECT current_company_id() AS current_company_id))"
ADMINS = (
    "((company_id = ( SELECT current_company_id() AS current_company_id)) "
    "AND ( SELECT has_role('Vibot.admin'::text) AS has_role))"
)


@pytest.fixture
async def company(conn: Connection) -> Company:
    return await make_company(conn, "north")


async def job(conn: Connection, company: Company) -> asyncpg.Record:
    row = await conn.fetchrow("select * from public.sync_jobs where id = $1", company.job)
    assert row is not None
    return row


async def test_the_columns_are_the_seeds_by_name_type_default_and_comment(conn: Connection) -> None:
    found = await conn.fetch("""
        select attname::text, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(d.adbin, d.adrelid),
            col_description(attrelid, attnum)
        from pg_attribute as a left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where attrelid = 'public.sync_jobs'::regclass and attnum > 0 and not attisdropped order by attnum
    """)
    assert [tuple(row) for row in found][: len(SEED)] == SEED
    assert await conn.fetchval("select obj_description('public.sync_jobs'::regclass)") == "调度任务"


async def test_the_keys_and_the_index_are_the_seeds(conn: Connection) -> None:
    keys = {
        row[0]
        for row in await conn.fetch("""
        select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'public.sync_jobs'::regclass
    """)
    }
    assert keys >= {
        "PRIMARY KEY (id)",
        "FOREIGN KEY (company_id) REFERENCES companies(id) ON DELETE CASCADE",
        "FOREIGN KEY (connector_id) REFERENCES integration_connectors(id)",
        "FOREIGN KEY (company_id, connector_id) REFERENCES integration_connectors(company_id, id)",
    }
    index = await conn.fetchval("select pg_get_indexdef('public.idx_sync_jobs_company_id'::regclass)")
    assert index == "CREATE INDEX idx_sync_jobs_company_id ON public.sync_jobs USING btree (company_id)"


async def test_the_policies_are_the_seeds_by_name_and_meaning(conn: Connection) -> None:
    found = await conn.fetch("""
        select polname::text, polcmd::text, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
        from pg_policy where polrelid = 'public.sync_jobs'::regclass and 'authenticated'::regrole = any (polroles)
        order by 1
    """)
    assert [tuple(row) for row in found] == [
        ("Sync jobs managed by admins (delete)", "d", ADMINS, None),
        ("Sync jobs managed by admins (insert)", "a", None, ADMINS),
        ("Sync jobs managed by admins (update)", "w", ADMINS, ADMINS),
        ("Sync jobs readable within company", "r", MINE, None),
    ]


async def test_the_seeds_own_statements_run_as_they_are_written(conn: Connection, company: Company) -> None:
    await conn.execute("CREATE INDEX IF NOT EXISTS idx_sync_jobs_company_id ON public.sync_jobs(company_id)")
    async with acting(conn, "authenticated", company.admin):
        added = await conn.fetchrow(
            "insert into sync_jobs (company_id, connector_id, job_type) values ($1, $2, 'repair') returning *",
            company.id,
            company.connector,
        )
    assert added is not None
    assert (added["status"], added["priority"], added["payload"], added["schedule"]) == ("idle", 0, {}, {})
    assert (added["next_run_at"], added["last_run_at"]) == (None, None)


@pytest.mark.parametrize("column", ["connector_id", "job_type", "payload", "schedule", "priority", "name"])
async def test_a_change_of_the_definition_is_counted_and_one_of_the_run_is_not(
    conn: Connection, company: Company, column: str
) -> None:
    other = await conn.fetchval(
        "insert into public.integration_connectors (company_id, provider) values ($1, 'http') returning id", company.id
    )
    new: dict[str, Any] = {
        "connector_id": other,
        "job_type": "repair",
        "payload": {"a": 1},
        "schedule": {"every": "1h"},
        "priority": 7,
        "name": "renamed",
    }
    await conn.execute("update public.sync_jobs set next_run_at = now(), last_run_at = now(), failures = 1")
    before = await job(conn, company)
    assert before["version"] == 1
    for _ in range(2):  # the second time nothing changes
        await conn.execute(f"update public.sync_jobs set {column} = $1 where id = $2", new[column], company.job)
    after = await job(conn, company)
    assert after["version"] == 2
    assert after["updated_at"] > before["updated_at"]


# Definition and run state, and what is to be read of them.
DERIVED = [
    ({}, "idle"),
    ({"plan_error": "schedule: …"}, "error"),
    ({"paused_at": "now"}, "paused"),
    ({"suspended_at": "now"}, "paused"),
    ({"paused_at": "now", "plan_error": "schedule: …"}, "paused"),
    ({"disabled_reason": "ten failures"}, "disabled"),
    ({"disabled_reason": "ten failures", "paused_at": "now"}, "disabled"),
    ({"run_state": "queued"}, "queued"),
    ({"run_state": "running", "paused_at": "now", "disabled_reason": "x", "plan_error": "y"}, "running"),
]


@pytest.mark.parametrize(("columns", "status"), DERIVED, ids=lambda case: str(case))
async def test_status_follows_from_definition_and_run(
    conn: Connection, company: Company, columns: dict[str, str], status: str
) -> None:
    for name, value in columns.items():
        cast = "timestamptz" if name.endswith("_at") else "text"
        await conn.execute(f"update public.sync_jobs set {name} = ($1::text)::{cast} where id = $2", value, company.job)
    assert (await job(conn, company))["status"] == status
    await conn.execute("update public.sync_jobs set status = 'idle'")
    assert (await job(conn, company))["status"] == status, "it was written by hand"


async def test_pausing_a_running_job_loses_neither(conn: Connection, company: Company) -> None:
    await conn.execute("update public.sync_jobs set run_state = 'running'")
    said = await conn.fetchrow("select * from public.sync_job_control($1, 'pause')", company.job)
    assert said is not None
    assert said["status"] == "running"
    await conn.execute("update public.sync_jobs set run_state = 'idle'")
    assert (await job(conn, company))["status"] == "paused"


BAD_JSON = {
    "deep": "'" + "[" * 40 + "]" * 40 + "'",
    "deep in an object": """'{"a": """ + "[" * 33 + "]" * 33 + "}'",
    "a number that no float holds": """'{"n": 1e309}'""",
    "one of many digits": "('{\"n\": ' || repeat('9', 5000) || '}')::jsonb",
    "a negative one": """'{"n": [{"m": -1e400}]}'""",
    "large": "jsonb_build_object('a', repeat('x', 70000))",
}


@pytest.mark.parametrize("bad", BAD_JSON)
@pytest.mark.parametrize(
    ("table", "column"), [("sync_jobs", "payload"), ("sync_jobs", "schedule"), ("integration_connectors", "config")]
)
async def test_json_that_would_stop_whoever_reads_all_tenants_rows_is_refused(
    conn: Connection, company: Company, table: str, column: str, bad: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await conn.execute(f"update public.{table} set {column} = {BAD_JSON[bad]}")
    large = {"a": [[[{"b": 1e308}]]], "c": "ä" * 1000}
    await conn.execute(f"update public.{table} set {column} = $1", large)
    found = await conn.fetchval(f"select {column} from public.{table}")
    assert (float(found["a"][0][0][0]["b"]), found["c"]) == (1e308, large["c"])


async def test_a_schedule_that_says_nothing_a_program_knows_is_kept_for_the_tick_to_explain(
    conn: Connection, company: Company
) -> None:
    for odd in ([], "hourly", 7, {"cron": "not a cron"}):
        await conn.execute("update public.sync_jobs set schedule = $1", odd)
    assert (await job(conn, company))["version"] == 5


@pytest.mark.parametrize(
    "change",
    [
        "priority = 1001",
        "job_type = 'Sync Now'",
        "run_state = 'paused'",
        "last_run_status = 'great'",
        "failures = -1",
    ],
)
async def test_words_and_figures_that_mean_nothing_are_refused(conn: Connection, company: Company, change: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await conn.execute(f"update public.sync_jobs set {change}")


async def test_names_are_unique_within_a_company_and_only_there(conn: Connection, company: Company) -> None:
    await make_company(conn, "south")  # names its own alike
    for table, columns, values in (
        ("integration_connectors", "company_id, provider, name", "$1, 'http', 'orders'"),
        ("sync_jobs", "company_id, connector_id, job_type, name", "$1, $2, 'sync', 'orders'"),
    ):
        used = (company.id, company.connector)[: values.count("$")]
        with pytest.raises(asyncpg.UniqueViolationError):
            await conn.execute(f"insert into public.{table} ({columns}) values ({values})", *used)


async def test_a_job_moves_to_another_company_in_no_way(conn: Connection, company: Company) -> None:
    """Not even by a server, not even with its connector: its runs stay where they are."""
    other = await make_company(conn, "south")
    for change in ("company_id = $1", "company_id = $1, connector_id = $2", "connector_id = $2"):
        used = [value for n, value in enumerate((other.id, other.connector), 1) if f"${n}" in change]
        asked = change if len(used) == 2 else change.replace("$2", "$1")
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await conn.execute(f"update public.sync_jobs set {asked}, name = null where id = '{company.job}'", *used)


async def test_deleting_a_connector_with_jobs_is_refused_in_words(conn: Connection, company: Company) -> None:
    async with acting(conn, "authenticated", company.admin):
        with pytest.raises(asyncpg.ForeignKeyViolationError) as met:
            async with conn.transaction():
                await conn.execute("delete from public.integration_connectors where id = $1", company.connector)
        assert str(met.value).splitlines()[0] == "connector 'orders': 1 sync job(s) use it"
        assert "inactive" in str(met.value.hint)
        await conn.execute("delete from public.sync_jobs where connector_id = $1", company.connector)
        assert await conn.execute("delete from public.integration_connectors where id = $1", company.connector)
        for table in ("connector_credentials", "connector_state", "synced_records", "sync_run_logs"):
            assert await conn.fetchval(f"select count(*) from public.{table} where company_id = $1", company.id) == 0


async def test_behind_the_words_stands_the_key(fresh: Connection) -> None:
    """Two who come at the same time, one with a job and one to delete, are for the key to part."""
    await make_company(fresh, "north")
    await fresh.execute("alter table public.integration_connectors disable trigger keep_connector")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await fresh.execute("delete from public.integration_connectors")


async def test_deleting_a_company_takes_everything_of_it_and_nothing_else(conn: Connection, company: Company) -> None:
    other = await make_company(conn, "south")
    await conn.execute("delete from public.companies where id = $1", company.id)
    for table in (
        "integration_connectors",
        "connector_credentials",
        "sync_jobs",
        "sync_run_logs",
        "synced_records",
        "connector_state",
        "sync_notifications",
    ):
        assert [row[0] for row in await conn.fetch(f"select company_id from public.{table}")] == [other.id], table
    assert [row[0] for row in await conn.fetch("select run from tidemill.staged_record")] == [other.run]


async def test_a_companys_new_zone_has_its_schedules_planned_anew_that_name_none(
    conn: Connection, company: Company
) -> None:
    other = await make_company(conn, "south")
    named = await conn.fetchval(
        "insert into public.sync_jobs (company_id, connector_id, job_type, schedule) "
        """values ($1, $2, 'sync', '{"cron": "0 9 * * *", "timezone": "Europe/Berlin"}') returning id""",
        company.id,
        company.connector,
    )
    await conn.execute("update public.sync_jobs set planned_version = version")
    await conn.execute("update public.companies set name = 'North', timezone = timezone")
    unplanned = "select id from public.sync_jobs where planned_version is distinct from version"
    assert await conn.fetch(unplanned) == []
    async with acting(conn, "service_role"):
        await conn.execute("update public.companies set timezone = 'Europe/Berlin' where id = $1", company.id)
        assert [row[0] for row in await conn.fetch(unplanned)] == [company.job]
        assert {named, other.job} & {company.job} == set()


@pytest.fixture
async def heard(conn: Connection, shared_url: str) -> AsyncIterator[asyncio.Queue[str]]:
    """What ticks are told."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    listener: Any = await connect(shared_url, name="tidemill tests")
    await listener.add_listener("tidemill_due", lambda *said: queue.put_nowait(said[-1]))
    yield queue
    listener.terminate()


WAKES = {
    "a new job": (
        "insert into public.sync_jobs (company_id, connector_id, job_type) values ('{c.id}', '{c.connector}', 'sync')"
    ),
    "another schedule": "update public.sync_jobs set schedule = '{{}}'",
    "a run asked for": "select public.sync_job_control('{c.job}', 'run')",
    "pause": "select public.sync_job_control('{c.job}', 'pause')",
    "a company that is suspended": "update public.companies set status = 'suspended'",
    "another zone of the company": "update public.companies set timezone = 'UTC'",
}
SLEEPS = {
    "the engine's own columns": "update public.sync_jobs set next_run_at = now(), run_state = 'queued', failures = 2",
    "a run of a schedule": (
        "insert into public.sync_run_logs (company_id, job_id, connector_id, job_type, trigger, fire_at) "
        "values ('{c.id}', '{c.job}', '{c.connector}', 's', 'schedule', now())"
    ),
}


@pytest.mark.parametrize("statement", [*WAKES, *SLEEPS])
async def test_what_a_tick_has_to_look_at_wakes_it_and_nothing_else(
    conn: Connection, heard: asyncio.Queue[str], statement: str
) -> None:
    company = await make_company(conn, "north")
    await conn.execute("select pg_notify('tidemill_due', 'before')")
    await conn.execute({**WAKES, **SLEEPS}[statement].format(c=company))
    await conn.execute("select pg_notify('tidemill_due', 'after')")
    async with asyncio.timeout(30):
        while await heard.get() != "before":
            pass
        between = await heard.get()
    assert between == ("sync_jobs" if statement in WAKES else "after")
