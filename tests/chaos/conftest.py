"""The simulated provider and the databases of these tests, made once."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.world import Simulator, World
from tests.conftest import run_apart


@pytest.fixture(scope="session")
def seed() -> int:
    """What all random moments are drawn from; given by TIDEMILL_CHAOS_SEED, it repeats a run."""
    given = os.environ.get("TIDEMILL_CHAOS_SEED")
    return int(given) if given else random.SystemRandom().randrange(1_000_000)


@pytest.fixture(scope="session")
def world(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On the tests' own server."""
    yield from made(server_url, tmp_path_factory.mktemp("chaos"))


def made(server_url: str, directory: Path) -> Iterator[World]:
    """A world for as long as somebody needs it."""
    with ExitStack() as stack:
        world = World(server_url, directory, Simulator(directory / "simulator.log", stack))
        try:
            run_apart(world.build())
            yield world
        finally:
            run_apart(world.drop())
