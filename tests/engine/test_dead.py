from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tidemill.engine import Context, Engine, Kind, NewJob, Registry
from tidemill.engine.dead import Retried, discard_dead, discard_dead_matching, retry_dead, retry_dead_matching
from tidemill.engine.look import JobFilter, list_jobs
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import history, quiet, working


class Mortal:
    """A kind whose jobs die at once until they are healed."""

    def __init__(self) -> None:
        self.healed = False
        self.kind = Kind("mortal", self.run, max_attempts=1)

    async def run(self, ctx: Context, args: dict[str, Any]) -> None:
        if not self.healed:
            raise ValueError(args.get("why", "no"))

    def engine(self, db: Database) -> Engine:
        registry = Registry()
        registry.add(self.kind)
        return Engine(db, registry)


async def died(db: Database, *jobs: NewJob) -> tuple[Engine, list[int]]:
    """An engine without a worker, and jobs that died under one."""
    async with working(db, Mortal().kind) as (engine, _):
        ids = [i for i in await engine.enqueue_many(jobs or [NewJob(kind="mortal")]) if i is not None]
        await quiet(db)
    return Mortal().engine(db), ids


async def dead(db: Database) -> list[int]:
    return [row["id"] for row in await db.fetch("select id from tidemill.job_dead order by id")]


async def test_a_retried_job_runs_again_under_its_old_id_with_all_its_attempts_before_it(db: Database) -> None:
    mortal = Mortal()
    async with working(db, mortal.kind) as (engine, _):
        job = await engine.enqueue("mortal", {"why": "ill"}, priority=3)
        await quiet(db)
        mortal.healed = True
        assert await retry_dead(db, [job]) == {job: "retried"}
        await quiet(db)
    assert await history(db) == [("mortal", 1, "dead", "ValueError: ill"), ("mortal", 1, "done", None)]
    assert await db.fetchval("select count(distinct id) from tidemill.job_run") == 1
    assert await dead(db) == []


async def test_a_retried_job_takes_its_unique_key_anew(db: Database) -> None:
    engine, [job] = await died(db, NewJob(kind="mortal", key="k"))
    assert await retry_dead(db, [job]) == {job: "retried"}
    assert tuple(await db.fetchrow("select key, job from tidemill.unique_key") or ()) == ("k", job)
    assert await engine.enqueue_many([NewJob(kind="mortal", key="k")]) == [None]


async def test_a_job_whose_unique_key_is_held_by_a_live_one_stays_dead(db: Database) -> None:
    engine, [held, free] = await died(db, NewJob(kind="mortal"), NewJob(kind="mortal"))
    await db.execute("update tidemill.job_dead set key = 'k' where id = $1", held)
    live = await engine.enqueue("mortal", key="k")
    assert await retry_dead(db, [held, free, 10**12]) == {held: "key held", free: "retried", 10**12: "not dead"}
    assert await dead(db) == [held]
    assert await db.fetchval("select job from tidemill.unique_key") == live


async def test_of_two_dead_jobs_with_one_key_one_is_retried(db: Database) -> None:
    _, ids = await died(db, NewJob(kind="mortal"), NewJob(kind="mortal"))
    await db.execute("update tidemill.job_dead set key = 'k'")
    assert sorted((await retry_dead(db, ids)).values()) == ["key held", "retried"]


async def test_a_retried_job_is_counted_by_its_batch_no_second_time(db: Database) -> None:
    async def close(ctx: Context, args: dict[str, Any]) -> None: ...

    mortal = Mortal()
    async with working(db, mortal.kind, Kind("close", close)) as (engine, _):
        async with db.transaction() as conn:
            batch = await engine.open_batch(conn, on_close="close", args={})
            [job] = await engine.enqueue_many([NewJob(kind="mortal", batch=batch)], conn=conn)
        await quiet(db)
        mortal.healed = True
        assert job is not None
        await retry_dead(db, [job])
        await quiet(db)
    row = await db.fetchrow("select total, finished, counts from tidemill.batch")
    assert tuple(row or ()) == (1, 1, {"dead": 1})


async def test_a_job_that_was_asked_to_stop_before_it_died_is_not_stopped_after_its_retry(db: Database) -> None:
    _, [job] = await died(db)
    await db.execute("insert into tidemill.job_cancel (job, asked_by) values ($1, 'ops')", job)
    await retry_dead(db, [job])
    assert await db.fetchval("select count(*) from tidemill.job_cancel") == 0


async def test_two_who_retry_the_same_job_make_it_ready_once(db: Database) -> None:
    _, ids = await died(db, *(NewJob(kind="mortal") for _ in range(50)))
    first, second = await asyncio.gather(retry_dead(db, ids), retry_dead(db, ids))
    assert [sorted((first[job], second[job])) for job in ids] == [["not dead", "retried"]] * 50
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 50


async def test_dead_jobs_are_retried_by_a_filter_in_chunks_past_those_whose_key_is_held(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.dead.CHUNK", 2)
    engine, ids = await died(
        db, *(NewJob(kind="mortal", args={"why": "Time-out" if n % 3 else "gone"}) for n in range(12))
    )
    await db.execute("update tidemill.job_dead set key = 'k' where id = any ($1)", ids[:3])
    await engine.enqueue("mortal", key="k")
    assert await retry_dead_matching(db, JobFilter(reason="time-OUT", kind="mortal")) == Retried(6, 2)
    assert len(await dead(db)) == 6
    assert await retry_dead_matching(db, JobFilter()) == Retried(3, 3)


async def test_dead_jobs_are_discarded_by_id_or_by_filter_and_their_history_stays(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.dead.CHUNK", 2)
    _, ids = await died(db, *(NewJob(kind="mortal", args={"why": f"reason {n % 2}"}) for n in range(9)))
    assert await discard_dead(db, [*ids[:1], 10**12]) == {ids[0]}
    assert await discard_dead_matching(db, JobFilter(reason="reason 1")) == 4
    died_at = await db.fetchval("select max(died_at) from tidemill.job_dead")
    assert await discard_dead_matching(db, JobFilter(since=died_at + timedelta(seconds=1))) == 0
    assert await discard_dead_matching(db, JobFilter(queue="default")) == 4
    assert await dead(db) == []
    assert await db.fetchval("select count(*) from tidemill.job_run where outcome = 'dead'") == 9


async def test_dead_jobs_are_listed_by_a_filter_with_the_latest_first_and_secrets_taken_out(db: Database) -> None:
    _, ids = await died(db, NewJob(kind="mortal", args={"why": "token=abc was refused"}), NewJob(kind="mortal"))
    page = await list_jobs(db, "dead", JobFilter(reason="refused"))
    assert [(j.id, j.outcome, j.reason) for j in page.jobs] == [
        (ids[0], "dead", "ValueError: token=[redacted] was refused")
    ]
    listed = (await list_jobs(db, "dead")).jobs
    assert sorted(j.id for j in listed) == ids
    assert [j.at for j in listed] == sorted((j.at for j in listed), reverse=True)


async def test_a_name_that_does_not_exist_is_refused_with_those_that_do(db: Database) -> None:
    await died(db)
    with pytest.raises(InvalidInput, match=r"kind: there is no kind 'nope'; known: .*mortal"):
        await retry_dead_matching(db, JobFilter(kind="nope"))
    with pytest.raises(InvalidInput, match=r"queue: there is no queue 'nope'; known: default"):
        await discard_dead_matching(db, JobFilter(queue="nope"))
