"""logs, accounts, run status, migrate: what they print of a database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cli.conftest import Run
from tests.cli.support import query

ACCOUNT = """\
with u as (insert into auth.users (id, email) values (gen_random_uuid(), 'a@example.com') returning id),
w as (insert into workspaces (name, created_by_user_id) select 'Acme', id from u returning id)
insert into workspace_threads_accounts
  (workspace_id, threads_user_id, username, token_status, token_expires_at, current_followers_count)
select w.id, t.id, t.name, 'valid', tidemill.now() + t.life, 7
from w, (values ('1', 'alice', interval '30 days'), ('2', 'bob', interval '-1 day')) as t (id, name, life)
returning id, workspace_id
"""
RUN = """\
insert into system_job_logs (job_type, status, trigger, sync_batch_at, started_at, completed_at, metadata)
values ('scheduled_sync', 'partial', 'http', $1::timestamptz, $1::timestamptz, $1::timestamptz + interval '75 seconds',
  '{"total_accounts": 2, "success_count": 1, "error_count": 1, "skipped_count": 0, "results": []}')
returning id
"""
STEP = """\
insert into sync_logs (run_id, workspace_threads_account_id, workspace_id, job_type, status, reason, error_message,
  started_at, completed_at)
values ($1, $2, $3, $4, $5, $6, $7, '2026-03-01 12:00Z', '2026-03-01 12:00:02Z')
"""


@pytest.fixture
def at(database_url: str) -> tuple[str, str]:
    return "--database-url", database_url


@pytest.fixture
def told(database_url: str) -> dict[str, Any]:
    """Two accounts and a run: one completed, one failed."""
    from datetime import UTC, datetime

    accounts = query(database_url, ACCOUNT)
    run_id = query(database_url, RUN, datetime(2026, 3, 1, 12, tzinfo=UTC))[0]["id"]
    for account, status in zip(accounts, ("completed", "failed"), strict=True):
        failed = status == "failed"
        reason, error = ("provider", "the provider\tsaid no") if failed else (None, None)
        arguments = (run_id, account["id"], account["workspace_id"], "sync_posts", status, reason, error)
        query(database_url, STEP, *arguments)
    return {"run": str(run_id), "accounts": accounts}


def test_empty_states_say_what_to_do_next(at: tuple[str, str], run: Run) -> None:
    assert "tidemill run scheduled-sync" in run(*at, "logs")[1]
    assert "tidemill demo" in run(*at, "accounts")[1]
    assert "nothing failed" in run(*at, "logs", "--failed")[1]
    assert json.loads(run(*at, "logs", "--json")[1]) == {"runs": []}
    assert json.loads(run(*at, "accounts", "--json")[1]) == {"accounts": []}


def test_logs_list_runs_as_tabbed_lines_when_piped(at: tuple[str, str], told: dict[str, Any], run: Run) -> None:
    code, out, err = run(*at, "logs")
    assert (code, err) == (0, "")
    heading, line = (text.split("\t") for text in out.splitlines())
    shown = dict(zip(heading, line, strict=True))
    assert shown["started"] == "2026-03-01 12:00:00Z"
    assert (shown["run"], shown["status"], shown["took"]) == (told["run"], "partial", "1 m 15 s")
    assert (shown["accounts"], shown["ok"], shown["error"], shown["skipped"]) == ("2", "1", "1", "0")


def test_logs_json_has_the_names_of_the_functions_answers(at: tuple[str, str], told: dict[str, Any], run: Run) -> None:
    row = json.loads(run(*at, "logs", "--json")[1])["runs"][0]
    expected = {"run_id": told["run"], "status": "partial", "total_accounts": 2, "success_count": 1, "duration": 75.0}
    assert {name: row[name] for name in expected} == expected


def test_logs_can_be_narrowed_to_a_run_an_account_and_what_failed(
    at: tuple[str, str], told: dict[str, Any], run: Run
) -> None:
    def steps(*options: str) -> list[tuple[str, str]]:
        rows = json.loads(run(*at, "logs", *options, "--json")[1])["steps"]
        return sorted((row["username"], row["status"]) for row in rows)

    assert steps("--run", told["run"]) == [("alice", "completed"), ("bob", "failed")]
    assert steps("--account", "alice") == [("alice", "completed")]
    assert steps("--account", str(told["accounts"][1]["id"])) == [("bob", "failed")]
    assert steps("--failed") == [("bob", "failed")]
    assert steps("--run", told["run"], "-n", "1") != []
    assert len(json.loads(run(*at, "logs", "--failed", "--system", "--json")[1])["runs"]) == 1
    assert run(*at, "logs", "--failed")[1].splitlines()[1].endswith("the provider said no")  # no tab inside a field
    assert "-n shows more" in run(*at, "logs", "--run", told["run"], "-n", "1")[2]


def test_what_is_asked_about_and_not_there_exits_with_3(at: tuple[str, str], run: Run) -> None:
    for arguments in (
        ("logs", "--run", str(uuid4())),
        ("logs", "--account", "nobody"),
        ("accounts", "--workspace", "nowhere"),
        ("run", "status", str(uuid4())),
    ):
        code, out, err = run(*at, *arguments)
        assert (code, out) == (3, ""), arguments
        assert err.startswith("tidemill: There is no")


def test_accounts_show_an_expired_token_by_tidemills_clock(at: tuple[str, str], told: dict[str, Any], run: Run) -> None:
    def tokens() -> list[tuple[str, str]]:
        rows = json.loads(run(*at, "accounts", "--workspace", "Acme", "--json")[1])["accounts"]
        return [(row["username"], row["token_status"]) for row in rows]

    assert tokens() == [("alice", "valid"), ("bob", "expired")]
    query(at[1], "select tidemill.advance_clock('40 days')")
    assert tokens() == [("alice", "expired"), ("bob", "expired")]
    heading, line = (text.split("\t") for text in run(*at, "accounts", "-n", "1")[1].splitlines())
    shown = dict(zip(heading, line, strict=True))
    assert (shown["account"], shown["workspace"], shown["followers"], shown["posts"]) == ("alice", "Acme", "7", "0")


def test_run_status_exits_with_1_for_a_run_that_did_not_complete(
    at: tuple[str, str], told: dict[str, Any], run: Run
) -> None:
    code, out, _ = run(*at, "run", "status", told["run"])
    assert code == 1
    assert "partial" in out
    assert f"tidemill logs --failed --run {told['run']}" in out
    code, out, _ = run(*at, "run", "status", told["run"], "--json")
    assert (code, json.loads(out)["status"]) == (1, "partial")
    query(at[1], "update system_job_logs set status = 'completed'")
    assert run(*at, "run", "status", told["run"])[0] == 0


def test_run_status_knows_a_run_that_a_user_started(at: tuple[str, str], told: dict[str, Any], run: Run) -> None:
    query(at[1], "delete from system_job_logs")
    query(at[1], "delete from sync_logs where status = 'failed'")
    code, out, _ = run(*at, "run", "status", told["run"], "--json")
    row = json.loads(out)
    assert (code, row["status"], row["success_count"], row["error_count"]) == (0, "completed", 1, 0)


def test_migrate_says_what_it_would_do_does_it_and_then_has_nothing_to_do(
    empty_database_url: str, run: Run, tmp_path: Path
) -> None:
    at = ("--database-url", empty_database_url)
    assert run(*at, "migrate", "--check")[0] == 5
    pending = json.loads(run(*at, "migrate", "--dry-run", "--json")[1])["pending"]
    assert len(pending) >= 7
    assert json.loads(run(*at, "migrate", "--check", "--json")[1])["pending"] == pending
    code, out, _ = run(*at, "migrate")
    assert (code, out.splitlines()) == (0, [f"applied  {name}" for name in pending])
    assert run(*at, "migrate", "--check")[0] == 0
    assert json.loads(run(*at, "migrate", "--json")[1]) == {"applied": []}
    assert run(*at, "migrate", "--export", "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == pending
    (tmp_path / "out" / pending[0]).write_text("-- mine")
    assert run(*at, "migrate", "--export", "out")[0] == 2
