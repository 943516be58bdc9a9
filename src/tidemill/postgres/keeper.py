"""The process that owns an embedded server: ``python -m tidemill.postgres.keeper FOLDER [--not-durable] [--linger S]``.

It is started by the first client and belongs to none: it has a session of its own, restarts the server when that dies,
and stops it and itself a few seconds after the last client has gone, or at once on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from tidemill.errors import DatabaseUnavailable, TidemillError
from tidemill.postgres.cluster import Cluster
from tidemill.postgres.home import Home, Running, tail

HELD = 3
"""Exit code: another keeper is at work."""

_TICK_S = 0.25
_TICK_WHILE_STARTING_S = 0.01
_LOCK_WAIT_S = 2.0
_START_PATIENCE_S = 1.0
_RESTART_PATIENCE_S = 60.0  # an old backend in a long statement holds the shared memory until that is through
_SHORT_LIFE_S = 10.0
_SHORT_LIVES = 50


class Keeper:
    """Keeps one server alive while it has clients."""

    def __init__(self, home: Home, *, durable: bool, linger: float) -> None:
        self._home = home
        self._durable = durable
        self._linger = linger
        self._clients = home.lock("clients")
        self._keeper = home.lock("keeper")
        self._asked_to_stop = False
        self._alone_since: float | None = None
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wake, False)

    def take_over(self) -> bool:
        """Become the keeper; False when there is one."""
        if not self._keeper.take(within=_LOCK_WAIT_S):
            return False
        self._home.write_running(None)  # of a keeper that was killed
        return True

    def run(self) -> None:
        """Keep the server until nobody needs it."""
        signal.set_wakeup_fd(self._waker)
        for request in (signal.SIGTERM, signal.SIGINT):
            signal.signal(request, self._stop)
        for event in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(event, _only_wake)
        try:
            cluster = Cluster(self._home, durable=self._durable)
            self._keep(cluster)
        except Exception as e:  # noqa: BLE001 - whatever it is, the clients wait for a word
            if not isinstance(e, TidemillError):
                traceback.print_exc()
            self._tell(Running(state="failed", keeper=os.getpid(), error=str(e) or repr(e)))
            raise SystemExit(1) from None
        finally:
            signal.set_wakeup_fd(-1)

    def _keep(self, cluster: Cluster) -> None:
        _say(f"keeping {cluster.data} on port {cluster.record.port}")
        patience, short_lives = _START_PATIENCE_S, 0
        while not self._is_done():
            if (server := self._start(cluster, patience)) is None:
                break
            born = time.monotonic()
            try:
                self._watch(server)
            finally:
                if server.poll() is None:
                    self._tell(None)
                    cluster.stop(server)
            _say(f"the server ended with code {server.returncode}")
            short_lives = short_lives + 1 if time.monotonic() - born < _SHORT_LIFE_S else 0
            patience = _RESTART_PATIENCE_S
            if short_lives > _SHORT_LIVES:
                raise DatabaseUnavailable(f"the embedded server keeps dying:\n{tail(cluster.log)}")
        self._tell(None)

    def _start(self, cluster: Cluster, patience: float) -> subprocess.Popen[bytes] | None:
        """Start until ready, again for ``patience`` seconds when that fails; None when asked to stop before that."""
        give_up, pause = time.monotonic() + patience, 0.05
        while True:
            server = cluster.start()
            while server.poll() is None and not self._asked_to_stop:
                if cluster.is_ready(server):
                    port, version = cluster.record.port, cluster.version
                    self._tell(Running(state="ready", keeper=os.getpid(), port=port, version=version))
                    return server
                self._rest(_TICK_WHILE_STARTING_S)  # however long recovery takes
            if self._asked_to_stop:
                cluster.stop(server)
                return None
            if time.monotonic() > give_up:
                raise DatabaseUnavailable(f"the embedded server does not start:\n{tail(cluster.log)}")
            self._rest(pause)
            pause = min(pause * 2, 1.0)

    def _tell(self, running: Running | None) -> None:
        """Say it to the clients, unless the folder has been removed and is perhaps another keeper's by now."""
        if self._keeper.is_of_this_path():
            self._home.write_running(running)

    def _watch(self, server: subprocess.Popen[bytes]) -> None:
        """Return when the server has died or is no longer needed."""
        while server.poll() is None and not self._is_done():
            self._rest(_TICK_S)

    def _is_done(self) -> bool:
        return self._asked_to_stop or self._was_abandoned() or not self._keeper.is_of_this_path()

    def _was_abandoned(self) -> bool:
        """Whether no client was there for the whole linger time. Then the lock stays ours, so none comes meanwhile."""
        if not self._clients.take():
            self._alone_since = None
            return False
        if self._alone_since is None:
            self._alone_since = time.monotonic()
        if time.monotonic() - self._alone_since >= self._linger:
            return True
        self._clients.yield_()
        return False

    def _rest(self, seconds: float) -> None:
        """Sleep, but not through a signal."""
        if self._asked_to_stop:
            return
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked_to_stop = True


def _only_wake(_signal: int, _frame: FrameType | None) -> None:
    """A handler of Python's, so that the signal ends the keeper's sleep and nothing else."""


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
    sys.stdout.flush()


def main() -> int:
    """Become the keeper, then go on in the background: when this process ends with 0, a keeper holds the lock."""
    parser = argparse.ArgumentParser(prog="tidemill.postgres.keeper")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--not-durable", action="store_true", help="for tests: faster, loses data in a power cut")
    parser.add_argument("--linger", type=float, default=5.0, help="seconds to stay after the last client has gone")
    chosen = parser.parse_args()
    keeper = Keeper(Home.make(chosen.folder), durable=not chosen.not_durable, linger=chosen.linger)
    if not keeper.take_over():
        return HELD
    # The lock goes with the open file, so it passes to the child; and the client, whose child this process is, has
    # nothing to wait for later.
    if os.fork():
        os._exit(0)
    keeper.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
