"""The demo, as a newcomer runs it: in an empty folder, to its end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import alive, environ, processes, query, started, tidemill, until
from tidemill.postgres import embedded

FIGURES = {
    "posts": "select count(*) as n from workspace_threads_posts",
    "snapshots": "select count(*) as n from workspace_threads_post_metrics",
    "account_snapshots": "select count(*) as n from workspace_threads_account_insights",
    "deltas": "select count(*) as n from workspace_threads_post_metrics_deltas",
    "account_deltas": "select count(*) as n from workspace_threads_account_insights_deltas",
    "current": "select count(distinct workspace_threads_post_id) as n from workspace_threads_post_metrics",
    "accounts_current": "select count(current_followers_count) as n from workspace_threads_accounts",
}
HOSTILE = {
    "TIDEMILL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/not-to-be-touched",
    "TIDEMILL_ENV": "production",
    "TIDEMILL_THREADS_BASE_URL": "http://127.0.0.1:1",
    "CRON_SECRET": "x",
    "BATCH_SIZE": "1",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o711)  # the account that the server runs as when root runs the tests must reach it
    for parent in (tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o011)
    return tmp_path


def _sleeping(data: Path) -> bool:
    return embedded.find(data) is None


@pytest.mark.timeout(600)
def test_the_demo_ends_well_its_figures_are_the_databases_and_nothing_is_left_running(folder: Path) -> None:
    (folder / "tidemill.toml").write_text('database_url = "postgresql://nobody@127.0.0.1:1/not-to-be-touched"\n')
    ran = tidemill("demo", "--once", "--json", folder=folder, env=environ(**HOSTILE), timeout=500)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["problems"] == []
    assert [tick["status"] for tick in told["ticks"]] == ["partial"] * 3
    assert [tick["total_accounts"] for tick in told["ticks"]] == [60] * 3
    outcomes = {(o["status"], o["reason"]): o["accounts"] for o in told["outcomes"]}
    assert outcomes[("skipped", "token_expired")] == [1, 2, 2]
    assert outcomes[("partial", "rate_limited")] == [1, 0, 0]
    assert outcomes[("skipped", "rate_limited")] == [0, 1, 1]
    assert outcomes[("completed", None)] == [57, 56, 56]
    data = folder / ".tidemill" / "demo"
    with embedded.attach(data) as server:
        assert {name: query(server.url, sql)[0]["n"] for name, sql in FIGURES.items()} == told["figures"]
        roles = query(server.url, "select role, count(*)::int as n from workspace_members group by 1 order by 1")
        assert [(row["role"], row["n"]) for row in roles] == [("editor", 6), ("owner", 6), ("viewer", 6)]
        assert query(server.url, "select \"offset\" = interval '0' as real from tidemill.clock") == [{"real": True}]
    # What the summary recommends works, with --data-dir and, here, without.
    (folder / "tidemill.toml").unlink()
    for arguments in (("logs",), ("logs", "--failed"), ("accounts",), ("doctor",)):
        assert tidemill(*arguments, folder=folder).returncode == 0, arguments
        named = tidemill("--data-dir", str(data), *arguments, folder=folder, env=environ(**HOSTILE))
        assert named.returncode == (1 if arguments == ("doctor",) else 0), arguments  # that CRON_SECRET is too short
    until(lambda: _sleeping(data), "the embedded server stops")
    until(lambda: not processes(str(folder)), "no process is left")


@pytest.mark.timeout(600)
def test_the_demo_goes_on_by_its_schedule_until_ctrl_c_and_can_be_run_again(database_url: str, folder: Path) -> None:
    at = ("--database-url", database_url)
    with started(*at, "demo", folder=folder) as (process, output):
        until(lambda: "It goes on by itself" in output.read_text(), "the three ticks are over", within=300)
        busy = tidemill(*at, "demo", "--once", folder=folder, timeout=200)
        assert (busy.returncode, "another demo" in busy.stderr) == (1, True)
        next_at = query(database_url, "select next_at from tidemill.schedule")[0]["next_at"]
        query(database_url, "select tidemill.set_clock($1)", next_at)
        until(lambda: output.read_text().partition("It goes on by itself")[2].count("slot ") == 1, "the schedule fires")
        children = [pid for pid in processes(str(folder)) if pid != process.pid]
        assert len(children) >= 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
        assert not any(map(alive, children))
    assert query(database_url, "select count(*)::int as n from tidemill.node") == [{"n": 0}]
    assert "Traceback" not in output.read_text()
    again = tidemill(*at, "demo", "--once", folder=folder, timeout=500)
    assert again.returncode == 0, again.stderr
    assert query(database_url, "select count(*)::int as n from workspaces") == [{"n": 6}]
    assert query(database_url, "select count(*)::int as n from system_job_logs") == [{"n": 3}]


@pytest.mark.timeout(300)
def test_nothing_of_the_demo_outlives_it_when_it_is_killed(database_url: str, folder: Path) -> None:
    with started("--database-url", database_url, "demo", folder=folder) as (process, output):
        until(lambda: "sync 1" in output.read_text(), "the first tick is over", within=200)
        children = [pid for pid in processes(str(folder)) if pid != process.pid]
        assert len(children) >= 2
        process.kill()
        until(lambda: not any(map(alive, children)), "the children are gone")


def test_the_demo_refuses_a_database_with_somebodys_workspaces(database_url: str, folder: Path) -> None:
    query(database_url, "insert into workspaces (name) values ('mine')")
    ran = tidemill("--database-url", database_url, "demo", "--once", folder=folder)
    assert ran.returncode == 2
    assert "one of its own" in ran.stderr
    counted: list[dict[str, Any]] = query(database_url, "select name from workspaces")
    assert counted == [{"name": "mine"}]
