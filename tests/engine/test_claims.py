"""When a worker asks for jobs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.support import PATIENCE, quiet, until, working
from tidemill.engine import Context, Kind, Worker, worker
from tidemill.engine.measures import Measures
from tidemill.postgres import Database


@pytest.fixture
def asking_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but a notification, or a job's end, makes the worker ask: its own looks lie far apart."""
    monkeypatch.setattr(worker, "POLL_HEARING_S", 1000.0)
    monkeypatch.setattr(worker, "POLL_S", 1000.0)


async def heard(working_worker: Worker) -> None:
    """Wait until notifications arrive: a worker that is deaf asks after every end."""

    async def hears() -> bool:
        return bool(working_worker.hears)

    await until(hears, what="the listener's connection")


@pytest.mark.usefixtures("asking_late")
async def test_an_end_where_there_was_room_anyway_is_no_reason_to_ask_for_jobs(db: Database) -> None:
    measures, jobs = Measures(), 20

    async def run(_: Context, __: dict[str, Any]) -> None: ...

    async with working(db, Kind("one", run), lease_ttl=5000.0, measures=measures) as (engine, working_worker):
        await heard(working_worker)
        before = sum(measures.claim.counts)
        for _ in range(jobs):
            await engine.enqueue("one")
            await quiet(db)
            await asyncio.sleep(10 * worker.PACE_S)  # a claim that followed would be sent by now
        claims = sum(measures.claim.counts) - before
    assert jobs <= claims <= 1.5 * jobs


@pytest.mark.usefixtures("asking_late")
async def test_room_that_an_end_makes_is_filled_without_waiting_for_the_next_look(db: Database) -> None:
    numbers = list(range(50))
    ran: list[int] = []
    done = asyncio.Event()

    async def run(_: Context, args: dict[str, Any]) -> None:
        ran.append(args["number"])
        if len(ran) == len(numbers):
            done.set()

    async with working(db, Kind("one", run), concurrency=1, lease_ttl=5000.0) as (engine, working_worker):
        await heard(working_worker)
        async with db.transaction() as conn:
            for number in numbers:
                await engine.enqueue("one", {"number": number}, conn=conn)
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert ran == numbers
