"""When a worker asks for jobs, and how many it takes at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from tests.engine.by_hand import engine_of, idle_kind, new_node
from tests.engine.support import PATIENCE, quiet, until, working
from tidemill.engine import Context, Kind, NewJob, Worker, worker
from tidemill.engine.claims import MOST_LANES, Claims
from tidemill.engine.limits import drop_limit, list_limits, read_limits
from tidemill.engine.measures import Measures
from tidemill.engine.queues import pause_queue, resume_queue
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


LAST_OF_LISTENER = """
select query from pg_stat_activity where application_name = 'tidemill listener' and datname = current_database()
"""


@pytest.mark.usefixtures("asking_late")
async def test_a_job_that_comes_after_a_wait_is_claimed_on_the_connection_that_told_of_it(db: Database) -> None:
    claimed_by = asyncio.Queue[str]()

    async def run(ctx: Context, _: dict[str, Any]) -> None:
        claimed_by.put_nowait(await ctx.db.fetchval(LAST_OF_LISTENER))

    async with working(db, Kind("one", run), lease_ttl=5000.0) as (engine, working_worker):
        await heard(working_worker)

        async def told() -> bool:  # not the first one, perhaps: that may come within the worker's first claim
            await engine.enqueue("one")
            return "delete from tidemill.job_ready" in await claimed_by.get()

        await until(told, what="a claim on the listener's connection")


@pytest.mark.usefixtures("asking_late")
async def test_jobs_are_claimed_elsewhere_while_the_connection_that_tells_of_them_is_in_use(db: Database) -> None:
    done = asyncio.Event()

    async def run(_: Context, __: dict[str, Any]) -> None:
        done.set()

    async with working(db, Kind("one", run), lease_ttl=5000.0) as (engine, working_worker):
        await heard(working_worker)
        listener = working_worker._listener
        assert listener is not None

        async def lends() -> Any:  # not while it beats
            return listener.lend()

        async with await until(lends, what="the listener's connection"):
            await engine.enqueue("one")
            async with asyncio.timeout(PATIENCE):
                await done.wait()


@pytest.mark.usefixtures("asking_late")
async def test_a_job_kept_waiting_by_a_rate_begins_in_time_though_others_came_meanwhile(db: Database) -> None:
    begun = asyncio.Queue[str]()

    async def run(ctx: Context, _: dict[str, Any]) -> None:
        begun.put_nowait(ctx.job.kind)

    slow = Kind("slow", run, limits=read_limits(None, "1/s"))
    async with working(db, slow, Kind("one", run), lease_ttl=5000.0) as (engine, working_worker):
        await heard(working_worker)
        await engine.enqueue_many([NewJob(kind="slow"), NewJob(kind="slow")])
        async with asyncio.timeout(PATIENCE):
            assert await begun.get() == "slow"
            await engine.enqueue("one")
            assert {await begun.get(), await begun.get()} == {"one", "slow"}


@pytest.mark.usefixtures("asking_late")
async def test_a_job_set_aside_begins_when_its_queue_goes_on_after_its_limit_was_dropped(db: Database) -> None:
    measures, begun, go_on = Measures(), asyncio.Semaphore(0), asyncio.Event()

    async def run(_: Context, __: dict[str, Any]) -> None:
        begun.release()
        await go_on.wait()

    narrow = Kind("narrow", run, limits=read_limits(1, None))
    async with working(db, narrow, lease_ttl=5000.0, measures=measures) as (engine, working_worker):
        await heard(working_worker)
        await engine.enqueue_many([NewJob(kind="narrow"), NewJob(kind="narrow")])
        async with asyncio.timeout(PATIENCE):
            await begun.acquire()
        await pause_queue(db, "default", by="ops")
        before = sum(measures.claim.counts)
        await drop_limit(db, (await list_limits(db))[0].id)

        async def looked() -> bool:
            return sum(measures.claim.counts) > before

        await until(looked, what="a claim from the paused queue")
        assert begun.locked()
        await resume_queue(db, "default")
        async with asyncio.timeout(PATIENCE):
            await begun.acquire()
        go_on.set()


@pytest.mark.parametrize("most", [1, MOST_LANES - 1, MOST_LANES, MOST_LANES + 1, 104, 3 * MOST_LANES, 488, 500])
async def test_a_claim_takes_what_it_may_from_many_tenants_and_as_much_of_each(db: Database, most: int) -> None:
    engine, tenants = engine_of(db, idle_kind("one")), [uuid4() for _ in range(2 * MOST_LANES)]
    await engine.enqueue_many([NewJob(kind="one", tenant=tenant) for tenant in tenants for _ in range(20)])
    node = await new_node(db)
    async with db.connection() as conn:
        jobs = await Claims("default", engine, node).take(conn, most, known=set[int])
    assert most * 0.98 <= len(jobs) <= most
    shares = Counter(job.tenant for job in jobs)
    assert len(set(shares.values())) == 1
    assert len(shares) >= min(most, MOST_LANES / 2)
