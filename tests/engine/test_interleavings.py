"""Whatever the order in which the statements of concurrent transactions run, the engine's tables stay true."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from itertools import combinations_with_replacement

import asyncpg
import pytest

from tests.engine.interleaving import Run, interleave, stepped, watching
from tests.engine.scenes import ACTS, Scene, scene
from tests.engine.truths import untrue
from tidemill.engine import KeyHeld
from tidemill.errors import LeaseLost
from tidemill.postgres import Connection, Database

THIEVES = {"rescue", "finish", "back off", "bury", "overdue"}
"""Actors that, if they did anything, took the written job from its holder."""
ALLOWED = (KeyHeld, LeaseLost, asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)


@pytest.fixture
async def watcher(superuser_url: str) -> AsyncIterator[Connection]:
    async with watching(superuser_url) as conn:
        yield conn


async def explore(s: Scene, watcher: Connection, acts: tuple[str, ...], switches: int | None) -> Counter[str]:
    """Every order of these actors in a scene; how often each kind of thing happened."""
    met: Counter[str] = Counter()
    async with stepped(s.db.url, len(acts)) as dbs:
        works = [partial(ACTS[s.name][act], s) for act in acts]
        async for run in interleave(dbs, works, watcher, before=s.restore, switches=switches):
            told = f"{s.name}: {acts} in the order {run.order} came to {run.outcomes}"
            for outcome in run.outcomes:
                assert not isinstance(outcome, Exception) or isinstance(outcome, ALLOWED), told
            assert await untrue(s.db, [s.keyed, s.sibling, s.plain]) == [], told
            await _effects_are_of_holders(s, acts, run, told)
            met["orders"] += 1
            met["waited"] += run.waited
            met["deadlocks"] += any(isinstance(outcome, asyncpg.DeadlockDetectedError) for outcome in run.outcomes)
    return met


async def _effects_are_of_holders(s: Scene, acts: tuple[str, ...], run: Run, told: str) -> None:
    """What was written for a run was written before its lease passed to somebody else."""
    rows = await s.db.fetch("select job, token from public.effect")
    writers = [i for i, outcome in enumerate(run.outcomes) if outcome == "written"]
    assert len(rows) == len(writers), told
    for i, (act, outcome) in enumerate(zip(acts, run.outcomes, strict=True)):
        if act in THIEVES and outcome and not isinstance(outcome, Exception):
            assert all(run.ended.index(writer) < run.ended.index(i) for writer in writers), told


async def all_of(db: Database, watcher: Connection, name: str, at_once: int, switches: int | None) -> Counter[str]:
    s = await scene(db, name)
    met: Counter[str] = Counter()
    for acts in combinations_with_replacement(ACTS[name], at_once):
        found = await explore(s, watcher, acts, switches)
        assert found["orders"] > 1, acts
        met += found
    return met


@pytest.mark.parametrize("name", ACTS)
async def test_two_at_once_in_every_order_of_one_switch(db: Database, watcher: Connection, name: str) -> None:
    met = await all_of(db, watcher, name, 2, switches=1)
    assert met["waited"] > 0, "nobody ever waited for a lock, so nothing was tried"


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ACTS)
async def test_two_at_once_in_every_order(db: Database, watcher: Connection, name: str) -> None:
    await all_of(db, watcher, name, 2, switches=None)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ACTS)
async def test_three_at_once_in_every_order_of_two_switches(db: Database, watcher: Connection, name: str) -> None:
    await all_of(db, watcher, name, 3, switches=2)


# The method itself ---------------------------------------------------------------------------------------------------


async def test_every_order_is_tried_and_a_lost_update_is_found(db: Database, watcher: Connection) -> None:
    await db.execute("create table tally (n int)")

    async def before() -> None:
        await db.execute("truncate tally; insert into tally values (0)")

    async def add(db: Database) -> None:
        async with db.transaction() as conn:
            n = await conn.fetchval("select n from tally")
            await conn.execute("update tally set n = $1", n + 1)

    results: list[int] = []
    orders: set[tuple[int, ...]] = set()
    async with stepped(db.url, 2) as dbs:
        async for run in interleave(dbs, [add, add], watcher, before=before):
            assert run.outcomes == [None, None]
            orders.add(tuple(run.order))
            results.append(await db.fetchval("select n from tally"))
    # 20 orders of three steps each, less those in which both updates would have run before either commit.
    assert len(orders) == len(results) == 14
    assert Counter(results) == {2: 2, 1: 12}, "only one after the other counts both"


async def test_a_deadlock_is_met_and_leaves_nobody_waiting(db: Database, watcher: Connection) -> None:
    await db.execute("create table pair (id int primary key); insert into pair values (1), (2)")

    async def nothing() -> None: ...

    async def lock(first: int, second: int, db: Database) -> str:
        async with db.transaction() as conn:
            await conn.fetch("select from pair where id = $1 for update", first)
            await conn.fetch("select from pair where id = $1 for update", second)
        return "locked"

    deadlocks = 0
    async with stepped(db.url, 2) as dbs:
        async for run in interleave(dbs, [partial(lock, 1, 2), partial(lock, 2, 1)], watcher, before=nothing):
            assert "locked" in run.outcomes
            deadlocks += any(isinstance(outcome, asyncpg.DeadlockDetectedError) for outcome in run.outcomes)
    assert deadlocks > 0
