"""The embedded server, seen from a process that uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tidemill.errors import DatabaseUnavailable
from tidemill.postgres.home import FileLock, Home, Running

LINGER = 5.0
"""Seconds that the server outlives its last client: the time between two commands typed one after the other."""

_TRIES = 3
_POLL_S = 0.02
_LOG_LIMIT = 1_000_000


class EmbeddedServer:
    """A running server of ``.tidemill``. While this object is attached, the server is kept.

    Attributes:
        url: superuser's URL, password included.
        port: on 127.0.0.1; stays the same over restarts unless somebody else took it meanwhile.
        version: the major version of Postgres, ``"18"``.
        keeper_pid: the process that owns the server.
        folder: the ``.tidemill`` folder.
        place: where its data and log lie: that folder, or one outside of it (see :func:`attach`).
    """

    def __init__(self, home: Home, running: Running, hold: FileLock | None) -> None:
        record = home.read_record()
        if record is None:
            raise DatabaseUnavailable(f"{home.folder}/postgres.json was removed while the server ran; stop its keeper")
        self.url = f"postgresql://postgres:{quote(record.password)}@127.0.0.1:{running.port}/postgres?sslmode=disable"
        self.port = running.port
        self.version = running.version
        self.keeper_pid = running.keeper
        self.folder = home.folder
        self.place = Path(record.place)
        self._hold = hold

    def release(self) -> None:
        """Need the server no more. It stops a few seconds after its last client has gone."""
        if self._hold is not None:
            self._hold.release()

    def wait_until_stopped(self, timeout: float = 60.0) -> None:
        """Wait until nobody keeps the server.

        Raises:
            TimeoutError: when it is still kept after ``timeout`` seconds.
        """
        home, give_up = Home(self.folder), time.monotonic() + timeout
        while home.is_kept():
            if time.monotonic() > give_up:
                raise TimeoutError(f"the embedded server of {self.folder} is still kept after {timeout} s")
            time.sleep(_POLL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def attach(data_dir: Path, *, durable: bool = True, linger: float = LINGER, timeout: float = 120.0) -> EmbeddedServer:
    """Use the server of this folder; make and start it if need be. Blocks; call it in a thread from async code.

    Processes that attach at once get the same server. It lives in ``data_dir``. Started by root, it runs as an existing
    unprivileged account, and where that account cannot reach ``data_dir`` its data lies in a folder of its own below
    ``/var/lib/tidemill`` (or ``/var/tmp/tidemill``), noted in ``data_dir/postgres.json``.

    Args:
        data_dir: usually ``.tidemill``; made if missing.
        durable: False lets a crash of the machine (not of any process) lose data: for tests. The client that starts
            the server decides.
        linger: seconds that the server outlives its last client. The client that starts the server decides.
        timeout: seconds for the whole, of which only a first start or a recovery takes more than one.

    Raises:
        DatabaseUnavailable: with the logs' last lines, when there is no server to be had.
        ConfigurationError: when the folder cannot be used by this user.
    """
    home = Home.make(data_dir)
    give_up = time.monotonic() + timeout
    hold = home.lock("clients")
    try:
        if not hold.take(shared=True, within=timeout):
            raise DatabaseUnavailable(f"the embedded server of {home.folder} is stopping and does not come to an end")
        for _ in range(_TRIES):
            with home.lock("attach") as turn:
                if not turn.take(within=max(0.0, give_up - time.monotonic())):
                    raise DatabaseUnavailable(f"somebody else has been starting the server of {home.folder} for long")
                _let_a_failed_keeper_end(home, give_up)
                if not home.is_kept():
                    _start_keeper(home, durable=durable, linger=linger, timeout=max(1.0, give_up - time.monotonic()))
            if running := _wait_until_ready(home, give_up):
                return EmbeddedServer(home, running, hold)
        raise DatabaseUnavailable(f"the embedded server's keeper ended at once:\n{home.last_words()}")
    except BaseException:
        hold.release()
        raise


def find(data_dir: Path) -> EmbeddedServer | None:
    """The running server of this folder, without attaching to it or changing anything; None if there is none."""
    home = Home(data_dir)
    if not home.folder.is_dir() or not home.is_kept():
        return None
    running = home.read_running()
    if running is None or running.state != "ready":
        return None
    return EmbeddedServer(home, running, None)


def _start_keeper(home: Home, *, durable: bool, linger: float, timeout: float) -> None:
    """Returns when a keeper holds its lock, ours or another."""
    from tidemill.postgres.keeper import HELD

    command = [sys.executable, "-m", "tidemill.postgres.keeper", str(home.folder), "--linger", str(linger)]
    command += [] if durable else ["--not-durable"]
    # The keeper leaves this directory and must find the same packages from there.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    if home.log.exists() and home.log.stat().st_size > _LOG_LIMIT:
        home.log.replace(home.log.with_suffix(".log.1"))
    with home.log.open("ab") as log:
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
                timeout=timeout,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as e:
            raise DatabaseUnavailable(f"the embedded server's keeper cannot be started: {e}") from e
    if code not in (0, HELD):
        raise DatabaseUnavailable(f"the embedded server's keeper ended with code {code}:\n{home.last_words()}")


def _let_a_failed_keeper_end(home: Home, give_up: float) -> None:
    """A keeper that has said why it failed is about to end; its word was for those who asked it, not for us."""
    while home.is_kept() and time.monotonic() < give_up:
        running = home.read_running()
        if running is None or running.state != "failed":
            return
        time.sleep(_POLL_S)


def _wait_until_ready(home: Home, give_up: float) -> Running | None:
    """What the keeper says once the server is ready; None when the keeper ended without a word."""
    while True:
        is_kept = home.is_kept()  # asked first: a keeper that fails says why, then ends
        running = home.read_running()
        if running is not None and running.state == "failed":
            raise DatabaseUnavailable(running.error)
        if not is_kept:
            return None
        if running is not None:
            return running
        if time.monotonic() > give_up:
            raise DatabaseUnavailable(f"the embedded server is still not ready:\n{home.last_words()}")
        time.sleep(_POLL_S)
