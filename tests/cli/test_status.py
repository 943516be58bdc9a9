"""status: one screen, an exit code that a monitor may trust, and a watch that ends when told."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.support import DEADLINE_S, command, environ, query, started, until

QUEUE = "insert into tidemill.queue (name) values ('mail')"
KIND = "insert into tidemill.kind (name, queue) select 'letter', id from tidemill.queue"
NODE = """\
insert into tidemill.node (name, pid, expires_at, ttl, version, queues)
values ('host', 7, now() + $1::interval, interval '15 s', '1.2', $2) returning id
"""
READY = """\
insert into tidemill.job_ready (id, queue, rank, kind, max_attempts, enqueued_at, args)
select 1, q.id, 0, k.id, 1, now() - interval '2 minutes', '{}' from tidemill.queue q, tidemill.kind k
"""
LEASE = """\
insert into tidemill.job_lease (id, queue, rank, kind, max_attempts, enqueued_at, args, token, node, claimed_at)
select 2, q.id, 0, k.id, 1, now(), '{}', 1, n.id, now() from tidemill.queue q, tidemill.kind k, tidemill.node n
"""
SCHEDULE = "insert into tidemill.schedule (name, kind, spec, next_at, error) values ('s', 'letter', '{}', $1, $2)"


@pytest.fixture
def at(database_url: str) -> tuple[str, str]:
    query(database_url, QUEUE)
    query(database_url, KIND)
    return "--database-url", database_url


def _plant(url: str, alive: bool = True, queues: tuple[str, ...] = ("mail",), **rows: Any) -> None:
    from datetime import timedelta

    query(url, NODE, timedelta(seconds=60 if alive else -60), list(queues))
    for sql in rows.values():
        query(url, sql)


def test_a_quiet_fleet_is_well_and_shown_with_its_worker(at: tuple[str, str], run: Run) -> None:
    _plant(at[1])
    code, out, err = run(*at, "status")
    assert (code, err) == (0, "")
    sections = [part.splitlines() for part in out.split("\n\n")]
    assert sections[0][0].endswith("All is well.")
    shown = {lines[0]: dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True)) for lines in sections[1:]}
    worker = shown["Workers: 1 alive"]
    assert (worker["host"], worker["pid"], worker["version"], worker["state"]) == ("host", "7", "1.2", "alive")
    assert (shown["Queues"]["queue"], shown["Queues"]["ready"], shown["Queues"]["oldest"]) == ("mail", "0", "-")


@pytest.mark.parametrize(
    ("planted", "options", "trouble"),
    [
        ({"alive": False, "ready": READY}, (), "No worker is alive, and jobs wait in mail"),
        ({"alive": False, "lease": LEASE}, (), "Process 7 on host is gone, and nobody took over the 1 jobs"),
        ({"queues": ("other",), "ready": READY}, (), "No living worker serves the queue mail"),
        ({"ready": READY}, ("--max-wait", "60"), "In the queue mail a job waits for 12"),
        ({"s": SCHEDULE.replace("$1", "now()").replace("$2", "'no zone'")}, (), "cannot be planned: s (no zone)"),
        ({"s": SCHEDULE.replace("$1", "now() - interval '1 h'").replace("$2", "null")}, (), "have not fired: s (due "),
        ({"moved": "select tidemill.advance_clock('3 years')"}, (), "go to the DEFAULT partition"),
    ],
    ids=["no worker", "gone", "unserved", "waits", "broken", "late", "partition"],
)
def test_what_is_not_well_is_said_and_exits_with_1(
    planted: dict[str, Any], options: tuple[str, ...], trouble: str, at: tuple[str, str], run: Run
) -> None:
    _plant(at[1], **planted)
    code, out, _ = run(*at, "status", *options)
    assert (code, trouble in out) == (1, True), out
    code, out, _ = run(*at, "status", "--json", *options)
    told = json.loads(out)
    assert (code, told["well"], any(trouble in text for text in told["troubles"])) == (1, False, True)
    if not options:  # within what it may take, a wait is no trouble
        return
    assert run(*at, "status")[0] == 0


def test_jobs_of_a_paused_queue_may_wait(at: tuple[str, str], run: Run) -> None:
    _plant(at[1], alive=False, ready=READY, pause="update tidemill.queue set paused_at = now(), paused_by = 'ann'")
    code, out, _ = run(*at, "status")
    assert code == 0
    assert "\tann\t" in out


def test_watching_in_a_pipe_prints_one_look_after_another_until_interrupted(
    at: tuple[str, str], tmp_path: Path
) -> None:
    with started(*at, "status", "--watch=0.2", folder=tmp_path) as (process, output):
        until(lambda: output.read_text().count("All is well.") >= 3, "three looks")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    assert "Traceback" not in output.read_text()


def test_watching_on_a_terminal_draws_in_place_until_interrupted(at: tuple[str, str], tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    arguments = command(*at, "status", "--watch")
    process = subprocess.Popen(
        arguments, cwd=tmp_path, env=environ(TERM="xterm"), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        for _ in range(10_000):
            shown += os.read(mine, 4096)
            if shown.count(b"All is well.") >= 2:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    finally:
        process.kill()
        process.wait()
        os.close(mine)
    assert b"\x1b[1A" in shown, "the cursor goes back up before the second drawing"


def test_a_watch_that_is_no_number_of_seconds_is_refused(at: tuple[str, str], run: Run) -> None:
    code, _, err = run(*at, "status", "--watch=0")
    assert (code, "--watch" in err) == (2, True)
