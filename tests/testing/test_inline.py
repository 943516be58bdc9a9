"""Inline: a job has run, by the engine's own statements, when the call that enqueued it returns."""

from __future__ import annotations

import asyncio

import pytest

from tidemill import ConfigurationError, KeyHeld
from tidemill.blocking import Client
from tidemill.testing import Harness

from .shop import Lost, Parcel, app, breed, judge, linger, lose, noted, relay, report, send, twice
from .test_drain import stopped_in_the_job


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    noted.clear()


async def test_a_job_has_run_with_all_that_follows_when_enqueue_returns(tm: Harness) -> None:
    with tm.inline():
        await app.enqueue(twice, Parcel(1))
        assert noted == [1, 10, 11]
        await app.enqueue_many([app.prepare(send, Parcel(2)), app.prepare(send, Parcel(3))])
        assert noted[3:] == [2, 3]
    await app.enqueue(send, Parcel(4))
    assert noted[5:] == []
    assert await tm.db.fetchval("select count(*) from tidemill.job_run where outcome = 'done'") == 5


async def test_what_a_handler_raises_is_raised_and_its_attempt_is_recorded(tm: Harness) -> None:
    with tm.inline(), pytest.raises(Lost, match="8"):
        await app.enqueue(lose, Parcel(8))
    [waiting] = await tm.enqueued(lose)
    assert waiting.attempt == 1
    assert await tm.db.fetchval("select reason from tidemill.job_run") == "Lost: 8"


async def test_a_failure_that_is_returned_is_an_outcome_and_not_raised(tm: Harness) -> None:
    with tm.inline():
        await app.enqueue(judge, {"mild": False})
    assert await tm.db.fetchval("select outcome from tidemill.job_run") == "failed"


async def test_a_key_is_free_again_once_its_job_has_run_and_held_while_it_waits(tm: Harness) -> None:
    with tm.inline():
        await app.enqueue(send, Parcel(1), key="k")
        await app.enqueue(send, Parcel(2), key="k")
        await app.enqueue(send, Parcel(3), key="k", delay=60)
        with pytest.raises(KeyHeld):
            await app.enqueue(send, Parcel(4), key="k")
    assert noted == [1, 2]


async def test_a_job_in_the_callers_transaction_waits_for_its_commit(tm: Harness) -> None:
    with tm.inline():
        async with tm.db.transaction() as conn:
            await app.enqueue(send, Parcel(1), conn=conn)
            assert noted == []
        assert noted == []
        await tm.drain()
    assert noted == [1]


async def test_batches_and_chains_have_run_with_what_comes_after(tm: Harness) -> None:
    with tm.inline():
        async with app.batch(on_done=report) as batch:
            batch.add(send, Parcel(1))
            batch.add(send, Parcel(2))
        assert noted == [1, 2, "report"]
        await app.chain(app.prepare(send, Parcel(3)), app.prepare(report), app.prepare(send, Parcel(4)))
    assert noted[3:] == [3, "report", 4]


async def test_jobs_that_are_enqueued_side_by_side_have_all_run(tm: Harness) -> None:
    async def placed(n: int) -> bool:
        await app.enqueue(send, Parcel(n))
        return n in noted

    with tm.inline():
        assert all(await asyncio.gather(*map(placed, range(8))))


async def test_a_client_in_a_thread_runs_its_jobs_too_and_one_that_holds_up_the_loop_is_refused(tm: Harness) -> None:
    client = await asyncio.to_thread(Client, app)
    try:
        with tm.inline():
            await asyncio.to_thread(client.enqueue, send, Parcel(1))
            assert noted == [1]
            with pytest.raises(ConfigurationError, match="to_thread"):
                client.enqueue(send, Parcel(2))
            with pytest.raises(Lost):
                await asyncio.to_thread(client.enqueue, lose, Parcel(3))
    finally:
        await asyncio.to_thread(client.close)
    assert noted == [1]


async def test_what_a_job_enqueues_from_any_thread_runs_after_it(tm: Harness) -> None:
    async with asyncio.timeout(60):
        with tm.inline():
            await app.enqueue(relay)
    assert noted == [1, 2]


async def test_jobs_that_breed_without_end_are_an_error(tm: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.testing.harness.MOST", 10)
    with tm.inline(), pytest.raises(AssertionError, match="do they breed"):
        await app.enqueue(breed)


async def test_a_job_that_is_given_up_on_leaves_nothing_leased(tm: Harness) -> None:
    with tm.inline():
        await stopped_in_the_job(app.enqueue(linger))
    assert len(await tm.enqueued(linger)) == 1
    assert await tm.db.fetchval("select count(*) from tidemill.job_lease") == 0
