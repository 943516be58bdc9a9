"""The two logs: the seeds' own queries, and the states a row may be in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.schema.conftest import Tenant, make_tenant
from tidemill.postgres import Connection

# Printed in seed 001, word for word.
RECENT_RUNS = """
SELECT job_type, status, started_at, completed_at, metadata
FROM system_job_logs
ORDER BY started_at DESC
LIMIT 10;
"""
BAD_RUNS = """
SELECT *
FROM system_job_logs
WHERE job_type = 'scheduled_sync'
  AND status IN ('failed', 'partial')
ORDER BY started_at DESC;
"""
# Printed in seed 002, word for word.
RETENTION = """
DELETE FROM sync_logs WHERE started_at < NOW() - INTERVAL '30 days';
"""
RECENT_FAILURES = """
SELECT * FROM sync_logs
WHERE status = 'failed'
ORDER BY started_at DESC
LIMIT 10;
"""
SUCCESS_RATE = """
SELECT
  date_trunc('day', started_at) as day,
  COUNT(*) FILTER (WHERE status = 'completed') as success,
  COUNT(*) FILTER (WHERE status = 'failed') as failed
FROM sync_logs
WHERE started_at > NOW() - INTERVAL '7 days'
GROUP BY day;
"""

SEED_COLUMNS = {
    "system_job_logs": [
        ("id", "uuid", True, "gen_random_uuid()"),
        ("job_type", "text", True, None),
        ("status", "text", True, "'pending'::text"),
        ("started_at", "timestamp with time zone", True, "now()"),
        ("completed_at", "timestamp with time zone", False, None),
        ("error_message", "text", False, None),
        ("metadata", "jsonb", False, None),
    ],
    "sync_logs": [
        ("id", "uuid", True, "gen_random_uuid()"),
        ("workspace_threads_account_id", "uuid", True, None),
        ("job_type", "text", True, None),
        ("status", "text", True, "'pending'::text"),
        ("started_at", "timestamp with time zone", True, "now()"),
        ("completed_at", "timestamp with time zone", False, None),
        ("error_message", "text", False, None),
        ("metadata", "jsonb", False, None),
    ],
}
SEED_INDEXES = {
    "idx_system_job_logs_type_status": "(job_type, status)",
    "idx_system_job_logs_started": "(started_at DESC)",
    "idx_sync_logs_account": "(workspace_threads_account_id)",
    "idx_sync_logs_started": "(started_at DESC)",
    "idx_sync_logs_status": "(status) WHERE (status = 'failed'::text)",
}
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
OPEN = ("pending", "running")


@pytest.fixture
async def tenant(conn: Connection) -> Tenant:
    tenant = await make_tenant(conn, "north")
    await conn.execute("delete from public.sync_logs")
    await conn.execute("delete from public.system_job_logs")
    await conn.execute("set timezone to 'UTC'")
    return tenant


async def add_run(conn: Connection, status: str, started_at: datetime, job_type: str = "scheduled_sync") -> UUID:
    return await conn.fetchval(
        "insert into public.system_job_logs (job_type, status, started_at, completed_at, metadata, skipped_reason) "
        "values ($1, $2, $3, $4, $5, $6) returning id",
        job_type,
        status,
        started_at,
        None if status in OPEN else started_at + timedelta(seconds=9),
        {"total_accounts": 10, "success_count": 8, "error_count": 2, "results": []},
        "already_ran" if status == "skipped" else None,
    )


async def add_log(
    conn: Connection,
    tenant: Tenant,
    status: str,
    started_at: datetime,
    job_type: str = "sync_posts",
    run: UUID | None = None,
) -> UUID:
    return await conn.fetchval(
        "insert into public.sync_logs "
        "(workspace_id, workspace_threads_account_id, run_id, job_type, status, started_at, completed_at, reason) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8) returning id",
        tenant.workspace,
        tenant.account,
        run or uuid4(),
        job_type,
        status,
        started_at,
        None if status in OPEN else started_at + timedelta(seconds=9),
        "token_expired" if status == "skipped" else None,
    )


@pytest.mark.parametrize("table", SEED_COLUMNS)
async def test_columns_and_defaults_are_the_seeds(conn: Connection, table: str) -> None:
    rows = await conn.fetch(
        "select attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(d.adbin, d.adrelid) "
        "from pg_attribute a left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum "
        "where attrelid = $1::regclass and attnum > 0 order by attnum",
        f"public.{table}",
    )
    assert [tuple(r) for r in rows][: len(SEED_COLUMNS[table])] == SEED_COLUMNS[table]


@pytest.mark.parametrize("index", SEED_INDEXES)
async def test_indexes_are_the_seeds(conn: Connection, index: str) -> None:
    definition = await conn.fetchval("select pg_get_indexdef($1::regclass)", f"public.{index}")
    assert definition.endswith(f"USING btree {SEED_INDEXES[index]}")


async def test_the_ten_newest_runs(conn: Connection, tenant: Tenant) -> None:
    for hour in range(12):
        await add_run(conn, "running" if hour == 11 else "completed", NOON + timedelta(hours=hour))
    rows = await conn.fetch(RECENT_RUNS)
    assert [r["started_at"] for r in rows] == [NOON + timedelta(hours=h) for h in range(11, 1, -1)]
    assert [r["status"] for r in rows[:2]] == ["running", "completed"]
    assert rows[0]["completed_at"] is None
    assert rows[1]["metadata"]["success_count"] == 8


async def test_the_runs_that_went_wrong(conn: Connection, tenant: Tenant) -> None:
    partial = await add_run(conn, "partial", NOON)
    for status in ("completed", "running", "pending", "skipped"):
        await add_run(conn, status, NOON)
    await add_run(conn, "failed", NOON, job_type="token_refresh")
    failed = await add_run(conn, "failed", NOON + timedelta(hours=1))
    assert [r["id"] for r in await conn.fetch(BAD_RUNS)] == [failed, partial]


async def test_the_ten_newest_failures(conn: Connection, tenant: Tenant) -> None:
    failed = [await add_log(conn, tenant, "failed", NOON + timedelta(minutes=m)) for m in range(12)]
    for status in ("completed", "partial", "skipped", "running"):
        await add_log(conn, tenant, status, NOON + timedelta(hours=1))
    assert [r["id"] for r in await conn.fetch(RECENT_FAILURES)] == failed[:1:-1]


async def test_the_success_rate_by_day(conn: Connection, tenant: Tenant) -> None:
    yesterday, before = NOON - timedelta(days=1), NOON - timedelta(days=2)
    for status, day, count in (
        ("completed", yesterday, 3),
        ("failed", yesterday, 1),
        ("partial", yesterday, 2),
        ("completed", before, 1),
    ):
        for _ in range(count):
            await add_log(conn, tenant, status, day)
    await add_log(conn, tenant, "completed", NOON - timedelta(days=9))
    midnight = timedelta(hours=12)
    found = {r["day"]: (r["success"], r["failed"]) for r in await conn.fetch(SUCCESS_RATE)}
    assert found == {yesterday - midnight: (3, 1), before - midnight: (1, 0)}


async def test_rows_of_more_than_thirty_days_are_purged(conn: Connection, tenant: Tenant) -> None:
    kept = await add_log(conn, tenant, "completed", NOON - timedelta(days=28))
    await add_log(conn, tenant, "completed", NOON - timedelta(days=32))
    assert await conn.execute(RETENTION) == "DELETE 1"
    assert [r["id"] for r in await conn.fetch("select id from public.sync_logs")] == [kept]


@pytest.mark.parametrize("table", ["system_job_logs", "sync_logs"])
@pytest.mark.parametrize("status", ["completed", "partial", "failed", "skipped"])
async def test_a_closed_row_has_an_end_and_a_skipped_one_a_reason(
    conn: Connection, tenant: Tenant, table: str, status: str
) -> None:
    row = await (
        add_run(conn, "running", NOON) if table == "system_job_logs" else add_log(conn, tenant, "running", NOON)
    )
    reason = "skipped_reason" if table == "system_job_logs" else "reason"
    close = f"update public.{table} set status = $2, completed_at = $3, {reason} = $4 where id = $1"
    with pytest.raises(asyncpg.CheckViolationError, match="closed_has_end"):
        await conn.execute(close, row, status, None, "because")
    if status == "skipped":
        with pytest.raises(asyncpg.CheckViolationError, match="skipped_has_reason"):
            await conn.execute(close, row, status, NOON, None)
    await conn.execute(close, row, status, NOON, "because" if status == "skipped" else None)
    with pytest.raises(asyncpg.CheckViolationError, match="closed_has_end"):
        await conn.execute(f"update public.{table} set status = 'running' where id = $1", row)


@pytest.mark.parametrize("column", ["status", "job_type"])
@pytest.mark.parametrize("table", ["system_job_logs", "sync_logs"])
async def test_unknown_words_are_refused(conn: Connection, tenant: Tenant, table: str, column: str) -> None:
    await add_run(conn, "completed", NOON)
    await add_log(conn, tenant, "completed", NOON)
    with pytest.raises(asyncpg.CheckViolationError):
        await conn.execute(f"update public.{table} set {column} = 'succeeded'")


async def test_a_slot_runs_once_but_is_skipped_any_number_of_times(conn: Connection) -> None:
    add = (
        "insert into public.system_job_logs (job_type, status, sync_batch_at, trigger, completed_at, skipped_reason) "
        "select $1, $2, $3, $4, case when $2 = 'skipped' then now() end, "
        "case when $2 = 'skipped' then 'already_ran' end"
    )
    await conn.execute(add, "scheduled_sync", "running", NOON, "schedule")
    for _ in range(2):
        await conn.execute(add, "scheduled_sync", "skipped", NOON, "http")
        with pytest.raises(asyncpg.UniqueViolationError):
            await conn.execute(add, "scheduled_sync", "running", NOON, "http")
    await conn.execute(add, "token_refresh", "running", NOON, "schedule")
    await conn.execute(add, "scheduled_sync", "running", NOON + timedelta(seconds=7), "cli")


async def test_a_run_has_one_row_per_account_and_step(conn: Connection, tenant: Tenant) -> None:
    run = uuid4()
    for step in ("sync_posts", "sync_metrics", "sync_account_insights"):
        await add_log(conn, tenant, "running", NOON, step, run)
        with pytest.raises(asyncpg.UniqueViolationError):
            await add_log(conn, tenant, "running", NOON, step, run)


async def test_a_log_cannot_stand_in_another_workspace_than_its_account(conn: Connection, tenant: Tenant) -> None:
    other = await make_tenant(conn, "south")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await conn.execute(
            "insert into public.sync_logs (workspace_id, workspace_threads_account_id, run_id, job_type) "
            "values ($1, $2, gen_random_uuid(), 'sync_posts')",
            other.workspace,
            tenant.account,
        )
