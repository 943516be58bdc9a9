"""worker, serve, up and run, as processes on a real database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.cli.support import (
    CRON_SECRET,
    DEADLINE_S,
    alive,
    environ,
    events,
    processes,
    query,
    started,
    tidemill,
    until,
)

LIVE = "select pid from tidemill.node where expires_at > clock_timestamp() order by pid"


@pytest.fixture
def env(database_url: str) -> dict[str, str]:
    return environ(TIDEMILL_DATABASE_URL=database_url, CRON_SECRET=CRON_SECRET)


def _ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(timeout=DEADLINE_S)


def _nodes(database_url: str) -> list[int]:
    return [row["pid"] for row in query(database_url, LIVE)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_worker_says_so_when_it_works_and_leaves_when_told(
    number: signal.Signals, code: int, env: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    with started("worker", "--concurrency", "3", folder=tmp_path, env=env) as (process, output):
        ready = until(lambda: events(output, "worker_started"), "the worker starts")[0]
        assert (ready["pid"], ready["accounts_at_once"]) == (process.pid, 3)
        assert _nodes(database_url) == [process.pid]
        declared = "select name, spec, next_at > now() as due from tidemill.schedule order by name desc"
        assert query(database_url, declared) == [
            {"name": "scheduled-sync", "spec": {"cron": "*/15 * * * *"}, "due": True},
            {"name": "log-retention", "spec": {"cron": "7 * * * *"}, "due": True},
        ]
        process.send_signal(number)
        assert _ended(process) == code
        assert events(output, "worker_stopped")
    assert _nodes(database_url) == []


def test_a_killed_worker_process_is_replaced_and_the_fleet_stops_as_one(
    env: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    with started("worker", "--processes", "2", folder=tmp_path, env=env) as (parent, output):
        first = until(
            lambda: len(events(output, "worker_started")) == 2 and events(output, "worker_started"), "both start"
        )
        pids = {event["pid"] for event in first}
        assert parent.pid not in pids
        killed = min(pids)
        os.kill(killed, signal.SIGKILL)
        third = until(lambda: events(output, "worker_started")[2:], "a third starts")[0]["pid"]
        assert third not in pids
        died = events(output, "worker_died")[0]
        assert (died["pid"], died["code"]) == (killed, -signal.SIGKILL)
        parent.send_signal(signal.SIGTERM)
        assert _ended(parent) == 0
        assert {event["pid"] for event in events(output, "worker_stopped")} == (pids - {killed}) | {third}
        assert not any(alive(pid) for pid in {*pids, third})


def test_worker_processes_stop_when_their_parent_is_killed(
    env: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    with started("worker", "--processes", "2", folder=tmp_path, env=env) as (parent, output):
        until(lambda: len(events(output, "worker_started")) == 2, "both start")
        pids = [event["pid"] for event in events(output, "worker_started")]
        parent.kill()
        until(lambda: not any(map(alive, pids)), "the children are gone")
        assert len(events(output, "worker_stopped")) == 2  # gracefully: their leases are given back
    assert _nodes(database_url) == []


def test_a_fleet_whose_children_cannot_work_ends_with_their_code(env: dict[str, str], tmp_path: Path) -> None:
    ran = tidemill("worker", "--processes", "2", folder=tmp_path, env={**env, "TIDEMILL_VAULT_KEYS": "no key"})
    assert ran.returncode == 2
    assert "vault keys" in ran.stderr


@pytest.mark.parametrize("name", ["serve", "up"])
def test_no_server_starts_without_the_cron_secret(name: str, env: dict[str, str], tmp_path: Path) -> None:
    del env["CRON_SECRET"]
    ran = tidemill(name, "--port", "0", folder=tmp_path, env=env)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "CRON_SECRET" in ran.stderr


def _ask(url: str, *, secret: str | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    with urlopen(Request(url, data=b"{}" if secret else None, headers=headers), timeout=60) as response:
        return response.status, json.load(response)


@pytest.mark.parametrize(("name", "number", "code"), [("serve", signal.SIGTERM, 0), ("up", signal.SIGINT, 130)])
def test_a_server_answers_until_told_to_stop(
    name: str, number: signal.Signals, code: int, env: dict[str, str], tmp_path: Path
) -> None:
    # Far from the next quarter of an hour, whose run would be the schedule's.
    query(env["TIDEMILL_DATABASE_URL"], "select tidemill.set_clock(date_trunc('hour', now()) + interval '1 minute')")
    with started(name, "--port", "0", folder=tmp_path, env=env) as (process, output):
        url = until(lambda: events(output, "functions_served"), "it serves")[0]["url"]
        assert _ask(f"{url}/healthz")[0] == 200
        assert _ask(f"{url}/readyz")[0] == 200
        if name == "up":  # with its worker the run of no accounts completes at once
            status, body = _ask(f"{url}/functions/v1/scheduled-sync?wait=55", secret=CRON_SECRET)
            assert (status, body["status"], body["total_accounts"]) == (200, "completed", 0)
        process.send_signal(number)
        assert _ended(process) == code
    assert CRON_SECRET not in output.read_text()


def test_a_taken_port_is_told_and_exits_with_2(env: dict[str, str], tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = tidemill("up", "--port", str(taken.getsockname()[1]), folder=tmp_path, env=env)
    assert ran.returncode == 2
    assert "cannot listen on 127.0.0.1" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_run_by_hand_is_done_by_a_worker_and_said_to_wait_without_one(
    env: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    next_slot = "select pg_sleep_until(max(sync_batch_at) + '1 s') from system_job_logs"  # a slot is a second
    alone = tidemill("run", "scheduled-sync", folder=tmp_path, env=env)
    assert alone.returncode == 1
    assert "tidemill up" in alone.stderr
    again = tidemill("run", "scheduled-sync", "--json", folder=tmp_path, env=env)
    assert (again.returncode, json.loads(again.stdout)["reason"]) == (1, "already_running")
    with started("worker", folder=tmp_path, env=env):
        open_runs = "select 1 from system_job_logs where completed_at is null"
        until(lambda: not query(database_url, open_runs), "the waiting run is done")
        query(database_url, next_slot)
        ran = tidemill("run", "scheduled-sync", "--json", folder=tmp_path, env=env)
        row = json.loads(ran.stdout)
        assert (ran.returncode, row["status"], row["trigger"], row["total_accounts"]) == (0, "completed", "cli", 0)
    query(database_url, next_slot)
    unwaited = tidemill("run", "scheduled-sync", "--wait", "0", folder=tmp_path, env=env)
    assert unwaited.returncode == 0
    assert "tidemill run status" in unwaited.stdout


def test_the_simulator_can_be_started_and_is_told_to_end(tmp_path: Path) -> None:
    with started("simulator", "threads", "--accounts", "2", folder=tmp_path) as (process, output):
        ready = json.loads(until(output.read_text, "it serves").splitlines()[0])
        assert ready["accounts"] == 2
        process.send_signal(signal.SIGTERM)
        assert _ended(process) == 0
    assert tidemill("simulator", "threads", "--nonsense", folder=tmp_path).returncode == 2
    assert "--faults" in tidemill("simulator", "threads", "--help", folder=tmp_path).stdout


def test_a_tethered_process_ends_with_the_pipe_it_holds(tmp_path: Path) -> None:
    command = ["simulator", "threads"]
    from tests.cli.support import command as line

    with subprocess.Popen(
        line("--tethered", *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=environ()
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline()
        process.stdin.close()
        assert _ended(process) == 0
    assert processes("tidemill-never-there") == []
