"""Postgres is killed under a running worker; its keeper restarts it, and the worker finds back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from tests.chaos.conftest import KeptServer, made
from tests.chaos.processes import until
from tests.chaos.world import SLOT, History, World, trigger
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database

BEGUN = "select backend_start from pg_stat_activity where backend_type = 'checkpointer'"
"""When the server last began to serve, by a start or after a crash."""
FEW = ("postmaster", "backends")
ALL = ("postmaster",) * 10 + ("backends",) * 3
KILLS = [
    *(pytest.param(n, victim, id=f"{n} {victim}") for n, victim in enumerate(FEW)),
    *(pytest.param(n, victim, id=f"{n} {victim} (full)", marks=pytest.mark.chaos) for n, victim in enumerate(ALL)),
]


@dataclass
class Embedded:
    """A server that loses nothing it has committed, and a world on it."""

    world: World
    server: KeptServer


@pytest.fixture(scope="module")
def durable(kept_server: KeptServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    for world in made(kept_server.url, tmp_path_factory.mktemp("chaos-postgres")):
        yield Embedded(world, kept_server)


@pytest.mark.parametrize(("n", "victim"), KILLS)
async def test_a_run_whose_postgres_is_killed_ends_as_an_undisturbed_one(
    durable: Embedded, seed: int, n: int, victim: str
) -> None:
    world = durable.world
    rng = random.Random(f"{seed}:{n}:{victim}")
    history: History = "known" if rng.random() < 0.5 else "new"
    async with world.database(history) as db:
        with world.worker(db.url, f"survivor-{n}") as worker:
            await worker.until_said("ready")
            await trigger(db, SLOT)
            after = rng.uniform(0, world.seconds[history])
            await asyncio.sleep(after)
            before: datetime = await db.fetchval(BEGUN)
            await _kill(durable, db, victim)
            try:
                await _serves_again(db.url, before)
                async with await Database.open(db.url, name="chaos tests") as fresh:
                    await world.closed(fresh)
                    await world.verify(fresh, history)
                assert worker.is_running()
            except AssertionError as e:
                e.add_note(f"TIDEMILL_CHAOS_SEED={seed}, {history} accounts, killed after {after:.3f} s")
                e.add_note(worker.last_words())
                raise


async def _kill(durable: Embedded, db: Database, victim: str) -> None:
    backends = await db.fetch("select pid from pg_stat_activity where datname = current_database()")
    if victim == "postmaster":
        durable.server.kill()
        return
    for row in backends:
        with contextlib.suppress(ProcessLookupError):  # a backend that has just left
            os.kill(row["pid"], signal.SIGKILL)


async def _serves_again(url: str, before: datetime) -> None:
    """Wait until what began after the kill answers: a backend outlives its postmaster for a moment, and answers."""

    async def answers() -> bool:
        try:
            async with await Database.open(url, name="chaos tests") as fresh:
                begun: datetime | None = await fresh.fetchval(BEGUN)
                return begun is not None and begun > before
        except DatabaseUnavailable:
            return False

    await until(answers, what="a restart of Postgres")
