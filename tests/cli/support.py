"""What the command line's tests share: commands as processes, and in this process where nothing of it stays behind."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import run_apart
from tidemill.postgres import Database

VAULT_KEYS = "test:" + base64.b64encode(bytes(range(32))).decode()
CRON_SECRET = "a-cron-secret-of-good-length"
DEADLINE_S = 120.0
POLL_S = 0.05


def environ(**changed: str) -> dict[str, str]:
    """The environment without any setting of this machine's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    for name in ("CRON_SECRET", "BATCH_SIZE", "BATCH_DELAY_MS"):
        kept.pop(name, None)
    return {**kept, "TIDEMILL_VAULT_KEYS": VAULT_KEYS, **changed}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tidemill", *arguments]


def tidemill(
    *arguments: str, folder: Path, env: Mapping[str, str] | None = None, timeout: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=dict(env or environ()),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def started(
    *arguments: str, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A command under way, and the file its output goes to; killed at the end if it still runs."""
    output = folder / f"output-{time.monotonic_ns()}"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command(*arguments),
            cwd=folder,
            env=dict(env or environ()),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield process, output
    finally:
        process.kill()
        process.wait()


def until(happens: Callable[[], Any], what: str, *, within: float = DEADLINE_S) -> Any:
    """The first true answer of ``happens``."""
    give_up = time.monotonic() + within
    while not (answer := happens()):
        assert time.monotonic() < give_up, f"not within {within} s: {what}"
        time.sleep(POLL_S)
    return answer


def events(output: Path, name: str) -> list[dict[str, Any]]:
    """The structured lines of one event, as far as they are written."""
    lines = output.read_text().splitlines()
    parsed = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [line for line in parsed if line.get("event") == name]


def query(url: str, sql: str, *args: Any) -> list[dict[str, Any]]:
    """Rows, from a synchronous test."""

    async def fetch() -> list[dict[str, Any]]:
        async with await Database.open(url, max_size=1, name="tidemill tests") as db:
            return [dict(row) for row in await db.fetch(sql, *args)]

    return run_apart(fetch())


def processes(marker: str) -> list[int]:
    """Living processes whose command line, environment or working folder holds ``marker``."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            text = (
                (folder / "cmdline").read_bytes()
                + (folder / "environ").read_bytes()
                + bytes((folder / "cwd").readlink())
            )
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marker.encode() in text and state != "Z":
            found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process runs (one that has ended but was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
