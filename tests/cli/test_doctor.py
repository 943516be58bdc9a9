"""doctor finds each problem that is planted, and names a fix."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.support import CRON_SECRET, query
from tidemill.cli.doctor import database
from tidemill.postgres import Database
from tidemill.settings import Settings

TENANT = """\
with w as (insert into workspaces (name) values ('Acme') returning id)
insert into workspace_threads_accounts (workspace_id, threads_user_id, username) select id, '1', 'alice' from w
returning id, workspace_id
"""
TOKEN = """\
insert into workspace_threads_tokens (workspace_threads_account_id, access_token_encrypted, expires_at)
values ($1, 'not-sealed-by-us', now() + interval '1 day')
"""
KIND = "insert into tidemill.kind (name) values ('x') on conflict do nothing"
LEASE = """\
insert into tidemill.job_lease (id, queue, rank, kind, max_attempts, enqueued_at, args, token, node, claimed_at)
values (1, 1, 0, 1, 1, now(), '{}', 1, 99, now() - interval '5 minutes')
"""
READY = """\
insert into tidemill.job_ready (id, queue, rank, kind, max_attempts, enqueued_at, args)
values (1, 1, 0, 1, 1, now() - interval '5 minutes', '{}')
"""
BATCH = """\
insert into tidemill.batch (deadline, close_kind, close_queue, close_args)
values (now() - interval '1 hour', 1, 1, '{}')
"""
RUN = """\
insert into system_job_logs (job_type, status, started_at)
values ('scheduled_sync', 'running', now() - interval '1 day')
"""
STEP = """\
insert into sync_logs (run_id, workspace_threads_account_id, workspace_id, job_type, status, started_at)
values (gen_random_uuid(), $1, $2, 'sync_posts', 'running', now() - interval '1 day')
"""
DEAD = """\
insert into tidemill.job_dead (id, queue, kind, priority, attempt, crashes, max_attempts, args, died_at)
values (1, 1, 1, 0, 1, 0, 1, '{}', now())
"""
SCHEDULE = """\
insert into tidemill.schedule (name, kind, spec, next_at, error)
values ('s', 'x', '{"cron": "* * * * *"}', now() + $1::interval, $2)
"""
OTHER_SUM = "update tidemill.schema_migrations set sha256 = 'other' where version = '20261122000100'"
NEWER = "insert into tidemill.schema_migrations (version, name) values ('20991231000000', 'new')"
DROP_PARTITION = """\
do $$ begin execute 'drop table tidemill.job_run_' || to_char(now() at time zone 'UTC', 'IYYY"w"IW'); end $$
"""


@pytest.fixture
def examine(run: Run, database_url: str) -> Any:
    def call(*options: str) -> tuple[int, dict[str, dict[str, str]]]:
        code, out, _ = run("--database-url", database_url, "doctor", "--json", *options)
        return code, {finding["check"]: finding for finding in json.loads(out)["findings"]}

    return call


def test_a_database_in_order_is_well_and_strict_minds_the_warnings(
    examine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, findings = examine()
    assert code == 0
    wanting = {check for check, finding in findings.items() if finding["level"] != "ok"}
    assert wanting == {"cron secret", "workers", "schedule"}
    assert all(findings[check]["fix"] for check in wanting)
    assert examine("--strict")[0] == 1
    monkeypatch.setenv("CRON_SECRET", CRON_SECRET)
    assert examine()[1]["cron secret"]["level"] == "ok"


@pytest.mark.parametrize(
    ("check", "level", "sql", "args"),
    [
        ("row security", "error", "alter table workspace_threads_tokens no force row level security", ()),
        ("row security", "error", "alter table tidemill.setting disable row level security", ()),
        ("partitions", "warn", DROP_PARTITION, ()),
        ("clock", "warn", "select tidemill.advance_clock('1 hour')", ()),
        ("workers", "error", READY, ()),
        ("leases", "error", LEASE, ()),
        ("batches", "error", BATCH, ()),
        ("dead jobs", "warn", DEAD, ()),
        ("logs", "error", RUN, ()),
        ("schedule s", "error", SCHEDULE, (timedelta(minutes=-10), None)),
        ("schedule s", "error", SCHEDULE, (timedelta(minutes=10), "cron: no")),
        (
            "schema",
            "error",
            "update tidemill.schema_migrations set sha256 = 'other' where version = '20261122000100'",
            (),
        ),
        (
            "schema",
            "warn",
            "insert into tidemill.schema_migrations (version, name) values ('20991231000000', 'new')",
            (),
        ),
    ],
)
def test_each_planted_problem_is_found_with_its_fix(
    check: str, level: str, sql: str, args: tuple[Any, ...], database_url: str, examine: Any
) -> None:
    query(database_url, sql, *args)
    code, findings = examine()
    assert findings[check]["level"] == level
    assert findings[check]["fix"]
    assert code == (1 if level == "error" else 0)


def test_a_step_left_open_and_a_token_that_no_key_opens_are_found(database_url: str, examine: Any) -> None:
    account = query(database_url, TENANT)[0]
    query(database_url, STEP, account["id"], account["workspace_id"])
    query(database_url, TOKEN, account["id"])
    code, findings = examine()
    assert (code, findings["logs"]["level"], findings["vault"]["level"]) == (1, "error", "error")


def test_missing_keys_a_moved_clock_in_production_and_a_short_secret_are_errors(
    database_url: str, examine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEMILL_VAULT_KEYS")
    monkeypatch.setenv("TIDEMILL_ENV", "production")
    monkeypatch.setenv("CRON_SECRET", "short")
    query(database_url, "select tidemill.advance_clock('1 hour')")
    code, findings = examine()
    assert code == 1
    assert [findings[check]["level"] for check in ("vault", "clock", "cron secret")] == ["error"] * 3


def test_a_pending_migration_is_an_error_and_ends_the_examination(empty_database_url: str, run: Run) -> None:
    code, out, _ = run("--database-url", empty_database_url, "doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(out)["findings"]}
    assert (code, findings["schema"]["level"]) == (1, "error")
    assert "tidemill migrate" in findings["schema"]["fix"]
    assert "workers" not in findings


def test_an_unreachable_database_is_a_finding(run: Run) -> None:
    code, out, _ = run("--database-url", "postgresql://x@127.0.0.1:1/x", "doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(out)["findings"]}
    assert (code, findings["database"]["level"]) == (1, "error")


async def test_an_old_transaction_is_found(db: Database) -> None:
    settings = Settings(database_url=db.url)

    async def transactions(limit: timedelta) -> str:
        findings = await database.examine(db, settings, long_transaction=limit)
        return next(f"{f.level}: {f.fix}" for f in findings if f.check == "transactions")

    async with db.transaction() as conn:
        pid = await conn.fetchval("select pg_backend_pid() from tidemill.clock for update")
        assert (await transactions(timedelta(hours=1))).startswith("ok")
        # Other databases of the server are looked at too: a snapshot anywhere may hold vacuum back.
        found = await transactions(timedelta(0))
        assert found.startswith("warn: end it: select pg_terminate_backend(")
        assert pid


async def test_a_deaf_listener_is_found_and_a_pooler_without_a_listen_url_is_told(
    db: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database, "LISTEN_S", 0.5)
    deaf = await database.listener(Settings(listen_url="postgresql://x@127.0.0.1:1/x"), db.url)
    assert deaf.level == "error"
    pooled = await database.listener(Settings(pooled=True), db.url)
    assert (pooled.level, "TIDEMILL_LISTEN_URL" in pooled.fix) == ("warn", True)
