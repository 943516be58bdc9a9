"""The tests that depend on the server, on every server that Tidemill is for: ``python -m tests.matrix [LEG…]``.

`make test` runs them on the embedded server as its superuser; each leg here differs from that in one thing.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit

from tests.conftest import administer, server_folder
from tidemill.postgres import binaries, cluster
from tidemill.postgres.binaries import Binaries
from tidemill.postgres.cluster import Cluster
from tidemill.postgres.home import Home

ROOT = Path(__file__).parents[2]
DEBIAN = Path("/usr/lib/postgresql")
ROOMS = ("schema", "postgres", "engine", "sync", "pooler", "web/api")
START_S = 30
PROCESSES = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")
ALL_S = 1500
"""Seconds that all legs together may take; on two quiet cores they need two thirds of it."""
ELSEWHERE = ("test_embedded.py", "test_cluster.py")
"""Tests of how the embedded server is kept: they start servers of their own."""


@dataclass(frozen=True)
class Leg:
    """A server, who owns the databases on it, and which rooms are tested there."""

    major: int
    plain_owner: bool = False
    rooms: tuple[str, ...] = ROOMS


LEGS = {
    "15": Leg(15),
    # Between the oldest server and the embedded one: what is SQL alone.
    "16": Leg(16, rooms=("schema", "postgres", "engine")),
    # The schema room tests both owners wherever it runs; a pooler does not see who logs in.
    "owner": Leg(18, plain_owner=True, rooms=("postgres", "engine", "sync", "web/api")),
}


def installed(major: int) -> Binaries:
    """The wheel's, or Debian's."""
    debian = DEBIAN / str(major) / "bin"
    found = binaries._in_wheel() + ([Binaries(debian, major)] if (debian / "postgres").exists() else [])
    for candidate in found:
        if candidate.major == major:
            return candidate
    raise SystemExit(f"PostgreSQL {major} is neither in the wheel nor below {DEBIAN}: run scripts/debian-packages")


@contextmanager
def server(chosen: Binaries) -> Iterator[str]:
    """A fresh cluster of that version, kept as the embedded one is; gives its superuser's URL."""
    with server_folder() as folder:
        with patch.object(cluster, "find_binaries", return_value=chosen):
            made = Cluster(Home.make(folder / ".tidemill"), durable=False)
        process = made.start()
        try:
            give_up = time.monotonic() + START_S
            while not made.is_ready(process):
                if process.poll() is not None or time.monotonic() > give_up:
                    raise SystemExit(f"PostgreSQL {chosen.major} does not start:\n{made.log.read_text()}")
                time.sleep(0.02)
            yield f"postgresql://{cluster.USER}:{made.record.password}@127.0.0.1:{made.record.port}/postgres"
        finally:
            made.stop(process)


def plain_owner(url: str) -> str:
    """An ordinary role that may log in and create roles, as a hosted database gives one; its URL."""
    password = secrets.token_hex(8)
    asyncio.run(administer(url, f"create role app login nosuperuser nobypassrls createrole password '{password}'"))
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"app:{password}@{parts.netloc.rpartition('@')[2]}"))


def run(leg: Leg, give_up: float) -> int:
    with server(installed(leg.major)) as url:
        environ = {**os.environ, "TIDEMILL_TEST_SERVER": url}
        if leg.plain_owner:
            environ["TIDEMILL_TEST_OWNER"] = plain_owner(url)
        rooms = [f"tests/{room}" for room in leg.rooms]
        ignored = [f"--ignore=tests/postgres/{name}" for name in ELSEWHERE]
        selected = ["-p", "tests.matrix.selection", *ignored, *rooms]
        command = [sys.executable, "-m", "pytest", *PROCESSES, *selected]
        return subprocess.run(command, cwd=ROOT, env=environ, timeout=give_up - time.monotonic()).returncode


def main(chosen: list[str]) -> int:
    """Run these legs, or all; 1 when any failed."""
    if unknown := set(chosen) - set(LEGS):
        raise SystemExit(f"no such leg: {', '.join(sorted(unknown))}; there are {', '.join(LEGS)}")
    give_up = time.monotonic() + ALL_S
    failed: list[str] = []
    for name in chosen or LEGS:
        started = time.monotonic()
        if run(LEGS[name], give_up):
            failed.append(name)
        said = "FAILED" if name in failed else "passed"
        print(f"matrix {name}: {said} in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201 - a command
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
