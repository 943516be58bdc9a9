"""Draining: what is due is run by the engine's own statements, until nothing is due."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from tests.engine.support import PATIENCE
from tidemill import InvalidInput, LeaseLost
from tidemill.engine.queues import pause_kind, pause_queue
from tidemill.testing import Harness

from .shop import (
    Lost,
    Parcel,
    anything,
    app,
    breed,
    dawdle,
    judge,
    linger,
    lose,
    noted,
    plainly,
    robbed,
    send,
    twice,
    wait,
)

HISTORY = """\
select k.name, r.attempt, r.outcome from tidemill.job_run r join tidemill.kind k on k.id = r.kind
order by r.finished_at, r.id
"""


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    noted.clear()


async def test_what_is_due_is_run_and_what_it_enqueues_and_the_history_tells_of_it(tm: Harness) -> None:
    await app.enqueue(twice, Parcel(4))
    drained = await tm.drain()
    assert noted == [4, 40, 41]
    assert drained.counts == {"done": 3}
    assert [attempt.result for attempt in drained.attempts] == [None, {"sent": 40}, {"sent": 41}]
    assert [tuple(row) for row in await tm.db.fetch(HISTORY)] == [
        (f"{app.prepare(job).kind}", 1, "done") for job in (twice, send, send)
    ]
    assert (await tm.drain()).attempts == []


async def test_jobs_of_every_tenant_are_run_in_the_order_of_the_queue(tm: Harness) -> None:
    for n in range(7):
        await app.enqueue(anything, {"tenant": n % 3})
    assert (await tm.drain()).counts == {"done": 7}
    assert sorted(args["tenant"] for args in noted) == [0, 0, 0, 1, 1, 2, 2]


async def test_only_the_queues_that_are_named_are_served(tm: Harness) -> None:
    await app.enqueue(send, Parcel(1))
    await app.enqueue(anything, {"tenant": 1})
    assert [attempt.job.kind for attempt in (await tm.drain(queues=["mail"])).attempts] == [app.prepare(send).kind]
    assert len(await tm.enqueued(anything)) == 1
    with pytest.raises(InvalidInput, match="no job is declared in 'post'; there are: default, mail"):
        await tm.drain(queues=["post"])


async def test_what_is_paused_is_left_alone(tm: Harness) -> None:
    await app.enqueue(send, Parcel(1))
    await app.enqueue(anything, {"tenant": 1})
    await app.enqueue(plainly, {"n": 1})
    await pause_queue(tm.db, "mail", by="a test")
    await pause_kind(tm.db, app.prepare(anything).kind, by="a test")
    assert [attempt.result for attempt in (await tm.drain(with_delayed=True)).attempts] == [2]
    assert len(await tm.enqueued()) == 2


async def test_failures_are_told_and_not_raised_and_retries_wait_for_the_clock(tm: Harness) -> None:
    await app.enqueue(lose, Parcel(5))
    before = await tm.now()
    drained = await tm.drain()
    assert drained.counts == {"retry": 1}
    assert isinstance(drained.failed[0].error, Lost)
    assert drained.failed[0].reason == "Lost: 5"
    assert "attempt 1: retry (Lost: 5)" in repr(drained)

    drained = await tm.drain(with_delayed=True)
    assert [(attempt.job.attempt, attempt.outcome) for attempt in drained.attempts] == [(2, "retry"), (3, "dead")]
    assert await tm.now() - before > timedelta(hours=1)
    assert await tm.db.fetchval("select reason from tidemill.job_dead") == "Lost: 5"


async def test_outcomes_that_are_returned_are_told_as_they_are(tm: Harness) -> None:
    await app.enqueue(judge, {"mild": True})
    await app.enqueue(judge, {"mild": False})
    drained = await tm.drain()
    assert [(attempt.outcome, attempt.reason) for attempt in drained.attempts] == [
        ("skipped", "not today"),
        ("failed", "never"),
    ]
    assert [attempt.outcome for attempt in drained.failed] == ["failed"]


async def test_a_job_whose_time_is_up_is_told_with_a_time_out(tm: Harness) -> None:
    await app.enqueue(dawdle)
    [attempt] = (await tm.drain()).attempts
    assert attempt.outcome == "dead"
    assert isinstance(attempt.error, TimeoutError)
    test = asyncio.current_task()
    assert test is not None
    assert not test.cancelling()


async def test_delayed_jobs_wait_unless_they_are_asked_for(tm: Harness) -> None:
    await app.enqueue(send, Parcel(2), delay=7200)
    await app.enqueue(send, Parcel(1), delay=3600)
    assert (await tm.drain()).attempts == []
    assert (await tm.drain(with_delayed=True)).counts == {"done": 2}
    assert noted == [1, 2]


@pytest.mark.parametrize("with_delayed", [False, True])
async def test_jobs_that_breed_without_end_are_an_error_that_names_them(tm: Harness, with_delayed: bool) -> None:
    await app.enqueue(wait if with_delayed else breed)
    with pytest.raises(AssertionError, match=r"after 20 attempts .* do they breed\? .*(breed|wait) \(20\)"):
        await tm.drain(most=20, with_delayed=with_delayed)


async def test_as_many_jobs_as_are_allowed_are_no_error(tm: Harness) -> None:
    for n in range(3):
        await app.enqueue(send, Parcel(n))
    assert len((await tm.drain(most=3)).attempts) == 3


async def stopped_in_the_job(work: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(work)
    async with asyncio.timeout(PATIENCE):
        while "lingers" not in noted:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("writes", [False, True], ids=["ends", "writes"])
async def test_a_job_whose_lease_is_taken_away_is_told_lost_and_nothing_is_written(tm: Harness, writes: bool) -> None:
    await app.enqueue(robbed, {"writes": writes})
    drained = await tm.drain()
    assert drained.counts == {"lost": 1}
    assert [type(attempt.error) for attempt in drained.failed] == [LeaseLost if writes else type(None)]
    assert await tm.db.fetchval("select count(*) from tidemill.job_run") == 0


async def test_a_drain_that_is_stopped_gives_its_job_back(tm: Harness) -> None:
    await app.enqueue(linger)
    await stopped_in_the_job(tm.drain())
    [job] = await tm.enqueued()
    assert (job.attempt, job.at) == (0, None)


async def test_a_batchs_callback_runs_after_its_jobs(tm: Harness) -> None:
    async with app.batch(on_done=anything, args={"tenant": 7}) as batch:
        batch.add(send, Parcel(1))
        batch.add(lose, Parcel(2), max_attempts=1)
    await tm.drain()
    assert noted[0] == 1
    assert noted[1]["batch"]["counts"] == {"done": 1, "dead": 1}


async def test_a_test_that_empties_every_table_can_still_run_jobs(tm: Harness) -> None:
    await tm.db.execute("truncate tidemill.node, tidemill.job_ready, tidemill.job_lease")
    await app.enqueue(send, Parcel(1))
    assert (await tm.drain()).counts == {"done": 1}


async def test_what_sql_enqueues_is_run_as_well(tm: Harness) -> None:
    await tm.db.execute("""select tidemill.enqueue($1, '{"number": 3}')""", app.prepare(send).kind)
    assert (await tm.drain()).counts == {"done": 1}
    assert noted == [3]
