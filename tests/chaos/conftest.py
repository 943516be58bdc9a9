"""The simulated provider, the databases and the servers of these tests, made once."""

from __future__ import annotations

import os
import random
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.world import Simulator, World
from tests.conftest import run_apart
from tidemill.postgres import embedded


@pytest.fixture(scope="session")
def seed() -> int:
    """What all random moments are drawn from; given by TIDEMILL_CHAOS_SEED, it repeats a run."""
    given = os.environ.get("TIDEMILL_CHAOS_SEED")
    return int(given) if given else random.SystemRandom().randrange(1_000_000)


@pytest.fixture(scope="session")
def world(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On the tests' own server."""
    yield from made(server_url, tmp_path_factory.mktemp("chaos"))


@dataclass
class KeptServer:
    """A server to be killed: it loses nothing that it has committed, and its keeper starts it again."""

    server: embedded.EmbeddedServer

    @property
    def url(self) -> str:
        return self.server.url

    def kill(self, number: int = signal.SIGKILL) -> None:
        """SIGQUIT ends it as ``pg_ctl stop -m immediate`` does; after SIGKILL its sessions find out by themselves."""
        with suppress(FileNotFoundError, ProcessLookupError):  # it is just coming back from the last time
            pid = int((self.server.place / "data" / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, number)


@pytest.fixture(scope="session")
def kept_server() -> Iterator[KeptServer]:
    with tempfile.TemporaryDirectory(prefix="tidemill-chaos-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)  # the account that the server runs as when root runs the tests must reach it
        server = embedded.attach(Path(directory) / ".tidemill", durable=True, linger=0.5)
        try:
            yield KeptServer(server)
        finally:
            server.release()
            server.wait_until_stopped()


def made(server_url: str, directory: Path) -> Iterator[World]:
    """A world for as long as somebody needs it."""
    with ExitStack() as stack:
        world = World(server_url, directory, Simulator(directory / "simulator.log", stack))
        try:
            run_apart(world.build())
            yield world
        finally:
            run_apart(world.drop())
