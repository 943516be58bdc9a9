from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

COMMAND = [sys.executable, "-m", "tidemill.simulators.threads"]


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())
        finally:
            running.kill()


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data), timeout=30) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_says_where_and_ends_cleanly_on_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"endpoint": "me", "call": 2, "error": {"code": 2, "status": 503}}]))
    options = ("--seed", "9", "--accounts", "2", "--posts-per-account", "3", "--new-post-every", "0")
    more = ("--clock", "2026-11-20T12:00:00Z", "--faults", str(faults), "--knob", "budget=7", "--knob", "order=oldest")
    with process(*options, *more) as (running, ready):
        url = ready["url"]
        assert url.startswith("http://127.0.0.1:")
        assert ask(url + "/_sim/clock") == {"now": "2026-11-20T12:00:00+0000", "frozen": True}
        assert [account["posts"] for account in ask(url + "/_sim/accounts")] == [3, 3]
        knobs = ask(url + "/_sim/knobs")
        assert (knobs["budget"], knobs["order"]) == (7, "oldest")
        token = ask(url + "/_sim/token", {"user": ask(url + "/_sim/accounts")[0]["id"]})["access_token"]
        assert ask(f"{url}/v1.0/me?access_token={token}")["id"]
        with pytest.raises(OSError, match="503"):
            ask(f"{url}/v1.0/me?access_token={token}")
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
        assert (running.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    "options",
    [
        ("--clock", "noonish"),
        ("--knob", "budget"),
        ("--knob", "colour=red"),
        ("--knob", "order=sideways"),
        ("--faults", "/nowhere/faults.json"),
        ("--accounts", "0"),
        ("--speed", "11"),
    ],
)
def test_wrong_usage_is_told_and_exits_with_2(options: tuple[str, ...]) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = [*COMMAND, "--port", str(port)]
        done = subprocess.run(options, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
