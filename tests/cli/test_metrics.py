"""--metrics: each worker process tells its own figures on a port of its own."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Run
from tests.cli.support import CRON_SECRET, DEADLINE_S, environ, events, started, tidemill, until
from tests.ports import free_port


@pytest.fixture
def env(database_url: str) -> dict[str, str]:
    return environ(TIDEMILL_DATABASE_URL=database_url, CRON_SECRET=CRON_SECRET)


def figures(url: str) -> str:
    with urlopen(url, timeout=60) as response:
        return response.read().decode()


def test_every_process_of_a_fleet_has_the_port_after_the_one_before(env: dict[str, str], tmp_path: Path) -> None:
    port = free_port(in_a_row=2)
    address = f"--metrics=127.0.0.1:{port}"
    with started("worker", "--processes=2", address, folder=tmp_path, env=env) as (parent, output):
        served = until(lambda: len(found := events(output, "metrics_served")) == 2 and found, "both serve")
        urls = sorted(event["url"] for event in served)
        assert urls == [f"http://127.0.0.1:{p}/metrics" for p in (port, port + 1)]
        assert all("tidemill_node_lease_safe_seconds " in figures(url) for url in urls)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(DEADLINE_S) == 0


def test_up_serves_the_fleets_figures_and_its_workers(env: dict[str, str], tmp_path: Path) -> None:
    arguments = ("up", "--port=0", "--metrics=127.0.0.1:0")
    with started(*arguments, folder=tmp_path, env={**env, "TIDEMILL_METRICS_TOKEN": ""}) as (_, output):
        own = until(lambda: events(output, "metrics_served"), "the worker serves")[0]["url"]
        fleet = until(lambda: events(output, "functions_served"), "the server serves")[0]["url"]
        assert "tidemill_claim_seconds_count" in figures(own)
        assert 'tidemill_nodes{state="alive"}' in figures(f"{fleet}/metrics")


def test_a_port_that_is_taken_ends_the_worker_with_2(env: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = tidemill("worker", f"--metrics=127.0.0.1:{taken.getsockname()[1]}", folder=tmp_path, env=env)
    assert (ran.returncode, "cannot listen on 127.0.0.1" in ran.stderr) == (2, True), ran.stderr


@pytest.mark.parametrize("address", ["9464", ":9464", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"])
def test_an_address_that_is_none_is_refused(address: str, run: Run) -> None:
    code, _, err = run("worker", f"--metrics={address}")
    assert (code, "HOST:PORT" in err) == (2, True)


def test_ports_beyond_the_last_are_refused(run: Run) -> None:
    code, _, err = run("worker", "--processes=2", "--metrics=127.0.0.1:65535")
    assert (code, "beyond 65535" in err) == (2, True)
