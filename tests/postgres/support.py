"""Real processes that use an embedded server, to be killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from tests.conftest import run_apart
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import connect
from tidemill.postgres.cluster import _is_server

PATIENCE = 60.0
LINGER = 0.3

_CLIENT = """
import json, subprocess, sys
from pathlib import Path
from tidemill.postgres import embedded
server = embedded.attach(Path(sys.argv[1]), durable=False, linger=float(sys.argv[2]))
child = None
if "with-a-child" in sys.argv:
    child = subprocess.Popen(["sleep", "600"], close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(json.dumps({
    "url": server.url, "keeper": server.keeper_pid, "place": str(server.place), "child": child and child.pid
}), flush=True)
sys.stdin.read()
server.release()
"""


class Client:
    """A process that attaches, says what it got, and releases when its input ends."""

    def __init__(self, folder: Path, *options: str, python: str = sys.executable, user: str | None = None) -> None:
        self.process = subprocess.Popen(
            [python, "-c", _CLIENT, str(folder), str(LINGER), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            user=user,
            group=user and group_of(user),
            extra_groups=[] if user else None,
        )
        self._said: dict[str, Any] | None = None

    @property
    def said(self) -> dict[str, Any]:
        if self._said is None:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(self.process.communicate(timeout=PATIENCE)[1])
            self._said = json.loads(line)
        assert self._said is not None
        return self._said

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def leave(self) -> None:
        self.process.communicate("", timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


@contextlib.contextmanager
def project() -> Iterator[Path]:
    """An empty project's folder that every account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def ask(url: str, statement: str) -> Any:
    """One value, on a connection of its own."""

    async def once() -> Any:
        conn = await connect(url)
        try:
            return await conn.fetchval(statement)
        finally:
            await conn.close(timeout=10)

    return run_apart(once())


def is_reachable(url: str) -> bool:
    async def once() -> bool:
        try:
            conn = await connect(url, patience=0.0)
        except DatabaseUnavailable:
            return False
        await conn.close(timeout=10)
        return True

    return run_apart(once())


def postmaster(place: Path) -> int:
    return int((place / "data" / "postmaster.pid").read_text().splitlines()[0])


def until_restarted(place: Path, old: int) -> None:
    """Wait until another postmaster takes connections."""

    def is_another_ready() -> bool:
        try:
            lines = (place / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] != str(old) and lines[7].strip() == "ready"

    until(is_another_ready)


def is_running(pid: int, place: Path) -> bool:
    """Whether that process is a server on this place's data; one that nobody reaped is not."""
    return _is_server(pid, place / "data")


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)
