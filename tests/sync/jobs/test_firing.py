"""Firing: each fire of a job gets one run, whoever ticks; what meets the run before it goes by the schedule's rule."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.sync.support import until
from tidemill.engine import Done
from tidemill.postgres import Database
from tidemill.sync.jobs import Run, firing

from .support import NOON, QUARTERS, Scripted, World, world

QUARTER = timedelta(minutes=15)


async def test_a_due_fire_becomes_one_run_and_one_job_of_the_engine(w: World) -> None:
    job = await w.job(payload={"streams": ["tides"]}, priority=7)
    await w.tick()
    await w.clock(NOON + QUARTER)
    await w.tick()
    [run] = await w.runs(job)
    assert (run["status"], run["trigger"], run["fire_at"]) == ("pending", "schedule", NOON + QUARTER)
    assert (run["payload"], run["job_type"]) == ({"streams": ["tides"]}, "sync")
    ready = await w.db.fetchrow("select * from tidemill.job_ready")
    assert (ready["id"], ready["tenant"], ready["priority"]) == (run["engine_job"], run["company_id"], 7)
    assert (ready["args"]["run"], ready["key"]) == (str(run["id"]), f"job:{job}")
    row = await w.row(job)
    assert (row["next_run_at"], row["status"]) == (NOON + 2 * QUARTER, "queued")
    await w.tick()
    assert len(await w.runs(job)) == 1


async def test_of_missed_fires_the_latest_is_made_up_for_unless_the_schedule_says_else(w: World) -> None:
    latest = await w.job(code=1)
    none = await w.job({**QUARTERS, "misfire": "skip"}, code=2)
    three = await w.job({**QUARTERS, "misfire": {"all": 3}, "overlap": "allow"}, code=3)
    await w.tick()
    late = NOON + timedelta(hours=5, minutes=7)
    await w.clock(late)
    await w.tick()
    fires = {job: [run["fire_at"] for run in await w.runs(job)] for job in (latest, none, three)}
    last = NOON + timedelta(hours=5)
    assert fires == {latest: [last], none: [], three: [last - 2 * QUARTER, last - QUARTER, last]}
    assert {(await w.row(job))["next_run_at"] for job in fires} == {last + QUARTER}


async def test_a_fire_that_meets_the_run_before_is_skipped_and_says_so(w: World) -> None:
    job = await w.job()
    await w.tick()
    for n in (1, 2):
        await w.clock(NOON + n * QUARTER)
        await w.tick()
    assert await w.said(job) == [("pending", None), ("skipped", "overlap")]
    assert await w.engine_jobs() == 1
    assert (await w.row(job))["status"] == "queued"


async def test_what_may_overlap_has_a_run_for_each_fire(w: World) -> None:
    job = await w.job({**QUARTERS, "overlap": "allow"})
    await w.tick()
    for n in (1, 2):
        await w.clock(NOON + n * QUARTER)
        await w.tick()
    assert await w.said(job) == [("pending", None), ("pending", None)]
    assert await w.engine_jobs() == 2


@pytest.mark.parametrize("overlap", ["queue", "replace"])
async def test_what_waits_for_the_run_before_starts_once_that_has_ended(db: Database, overlap: str) -> None:
    go = asyncio.Event()

    async def hold(run: Run) -> Any:
        if run.fire_at == NOON + QUARTER:
            await go.wait()
        return Done()

    async with world(db, Scripted(hold)) as w:
        await w.clock(NOON)
        async with w.working():
            job = await w.job({**QUARTERS, "overlap": overlap})
            await until(lambda: planned(w, job), "the plan")
            await w.clock(NOON + QUARTER)
            await until(lambda: running(w, job), "the first run")
            await w.clock(NOON + 2 * QUARTER)
            if overlap == "queue":
                await w.tick()
                assert len(await w.runs(job)) == 1
                go.set()
            runs = await w.ended(job, 2)
    first = ("completed", None) if overlap == "queue" else ("partial", "cancelled")
    assert [(run["status"], run["reason"]) for run in runs] == [first, ("completed", None)]


async def planned(w: World, job: UUID) -> bool:
    return (await w.row(job))["next_run_at"] is not None


async def running(w: World, job: UUID) -> bool:
    return (await w.row(job))["status"] == "running"


async def test_jitter_holds_the_run_back_and_not_the_fire(w: World) -> None:
    job = await w.job({**QUARTERS, "jitter": "10m"})
    await w.tick()
    await w.clock(NOON + QUARTER)
    await w.tick()
    [run] = await w.runs(job)
    at = await w.db.fetchval("select run_at from tidemill.job_delayed where id = $1", run["engine_job"])
    assert run["fire_at"] < at <= run["fire_at"] + timedelta(minutes=10)


async def test_a_paused_job_rests_and_then_makes_up_for_its_latest_fire(w: World) -> None:
    job = await w.job()
    await w.tick()
    assert (await w.control(job, "pause"))["status"] == "paused"
    await w.clock(NOON + 5 * QUARTER)
    assert await w.tick() is None
    await w.control(job, "resume")
    await w.tick()
    assert [run["fire_at"] for run in await w.runs(job)] == [NOON + 5 * QUARTER]


@pytest.mark.parametrize("status", ["suspended", "closed"])
async def test_the_jobs_of_a_company_that_is_not_active_rest_and_leave_no_rows(w: World, status: str) -> None:
    job = await w.job()
    await w.tick()
    await w.db.execute("update public.companies set status = $1", status)
    row = await w.row(job)
    assert (row["status"], row["next_run_at"]) == ("paused", NOON + QUARTER)
    assert row["suspended_at"] >= NOON
    for quarters in range(1, 4):
        await w.clock(NOON + quarters * QUARTER)
        assert await w.tick() is None
    assert await w.runs(job) == []
    await w.control(job, "run")
    await w.tick()
    assert await w.said(job) == [("skipped", "company_suspended")]
    assert await w.engine_jobs() == 0


@pytest.mark.parametrize(
    ("misfire", "fires"),
    [("latest", [3]), ("skip", []), ({"all": 2}, [2, 3])],
    ids=["latest", "skip", "all"],
)
async def test_a_company_that_is_active_again_has_what_it_missed_made_up_by_each_jobs_rule(
    w: World, misfire: Any, fires: list[int]
) -> None:
    job = await w.job({**QUARTERS, "misfire": misfire, "overlap": "allow"})
    own = await w.job(code="other")
    await w.control(own, "pause")
    await w.tick()
    await w.db.execute("update public.companies set status = 'suspended'")
    await w.clock(NOON + 3 * QUARTER + timedelta(minutes=5))
    assert await w.tick() is None
    await w.db.execute("update public.companies set status = 'active'")
    await w.tick()
    assert [run["fire_at"] for run in await w.runs(job)] == [NOON + n * QUARTER for n in fires]
    row = await w.row(job)
    assert (row["next_run_at"], row["suspended_at"]) == (NOON + 4 * QUARTER, None)
    assert (await w.row(own))["status"] == "paused"  # its own pause is none of the company's


async def test_what_is_asked_for_is_taken_up_and_the_same_request_is_the_same_run(w: World) -> None:
    job = await w.job({})
    await w.tick()
    first, again = await w.control(job, "run", "k"), await w.control(job, "run", "k")
    assert (first["run_id"], first["already"]) == (again["run_id"], False)
    assert again["already"]
    await w.tick()
    await w.tick()
    [run] = await w.runs(job)
    assert (run["trigger"], run["fire_at"]) == ("operator", None)
    assert run["engine_job"] is not None
    assert await w.engine_jobs() == 1


async def test_a_request_that_meets_a_run_is_taken_up_once_that_has_ended(db: Database) -> None:
    go = asyncio.Event()

    async def hold(run: Run) -> Any:
        await go.wait()
        return Done()

    async with world(db, Scripted(hold)) as w:
        await w.clock(NOON)
        async with w.working():
            job = await w.job({})
            await w.control(job, "run")
            await until(lambda: running(w, job), "the first run")
            await w.db.execute(
                "insert into public.sync_run_logs (company_id, job_id, connector_id, job_type, trigger)"
                " select company_id, id, connector_id, job_type, 'api' from public.sync_jobs"
            )
            await w.tick()
            go.set()
            runs = await w.ended(job, 2)
    assert {run["status"] for run in runs} == {"completed"}


async def test_a_clock_that_goes_back_fires_nothing_twice(w: World) -> None:
    job = await w.job({**QUARTERS, "overlap": "allow"})
    await w.tick()
    for at in (NOON + QUARTER, NOON - 10 * QUARTER, NOON + QUARTER):
        await w.clock(at)
        await w.tick()
    await w.edit(job, "next_run_at", NOON + QUARTER)
    await w.tick()
    assert [run["fire_at"] for run in await w.runs(job)] == [NOON + QUARTER]
    assert await w.engine_jobs() == 1
    assert (await w.row(job))["next_run_at"] == NOON + 2 * QUARTER


async def test_a_row_whose_fires_cannot_be_told_any_more_says_so_and_stops_nobody_else(w: World) -> None:
    bad, good = await w.job(code=1), await w.job(code=2)
    await w.tick()
    # As a newer version might have planned it, or an older one that took what this one refuses.
    await w.db.execute(
        "update public.sync_jobs set schedule = $2, planned_version = version + 1 where id = $1",
        bad,
        {"cron": "0 0 15W * *"},
    )
    await w.clock(NOON + QUARTER)
    await w.tick()
    assert (await w.row(bad))["plan_error"].startswith("schedule.cron: day of month: ")
    assert len(await w.runs(good)) == 1


async def test_what_postgres_refuses_of_one_row_stops_nobody_else(w: World) -> None:
    jobs = [await w.job(code=n) for n in range(5)]
    await w.tick()
    await w.db.execute("create table doomed as select $1::uuid as id", jobs[2])
    await w.db.execute(
        "create function doom() returns trigger language plpgsql as $$ begin if new.job_id in (select id from doomed)"
        " then raise exception 'no'; end if; return new; end $$"
    )
    await w.db.execute("create trigger doom before insert on public.sync_run_logs for each row execute function doom()")
    await w.clock(NOON + QUARTER)
    again = await w.tick()
    assert again is not None
    assert again <= 0.25
    assert [len(await w.runs(job)) for job in jobs] == [1, 1, 0, 1, 1]
    assert (await w.row(jobs[2]))["next_run_at"] == NOON + QUARTER
    await w.db.execute("truncate doomed")
    await w.tick()
    assert len(await w.runs(jobs[2])) == 1


async def test_a_job_edited_between_reading_and_firing_is_not_fired_by_what_was_read(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await w.job()
    await w.tick()
    await w.clock(NOON + QUARTER)
    retrying = w.db.retrying

    async def late(work: Any) -> Any:
        await w.edit(job, "schedule", {"cron": "0 0 1 1 *"})
        return await retrying(work)

    monkeypatch.setattr(w.db, "retrying", late)
    await w.tick()
    assert await w.runs(job) == []


async def test_a_row_that_somebody_is_at_is_not_waited_for(w: World) -> None:
    held, free = await w.job(code=1), await w.job(code=2)
    await w.tick()
    await w.clock(NOON + QUARTER)
    async with asyncio.timeout(30), w.db.transaction() as other:
        await other.execute("select from public.sync_jobs where id = $1 for update", held)
        await w.tick()
    assert (len(await w.runs(held)), len(await w.runs(free))) == (0, 1)
    await w.tick()
    assert len(await w.runs(held)) == 1


async def test_three_nodes_that_tick_at_once_make_one_run_for_each_fire(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "CHUNK", 20)
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(world(await stack.enter_async_context(await Database.open(database_url))))
            for _ in range(3)
        ]
        [w, *_] = nodes
        await w.clock(NOON)
        connector = await w.connector(await w.company())
        for _ in range(100):
            await w.job(connector=connector)
        await asyncio.gather(*(node.tick() for node in nodes))
        for n in (1, 2):
            await w.clock(NOON + n * QUARTER)
            while (await w.db.fetchval("select count(*) from public.sync_run_logs")) < n * 100:
                await asyncio.gather(*(node.tick() for node in nodes))
        rows = await w.db.fetch("select fire_at, status, count(*) from public.sync_run_logs group by 1, 2 order by 1")
        assert [tuple(row) for row in rows] == [
            (NOON + QUARTER, "pending", 100),
            (NOON + 2 * QUARTER, "skipped", 100),
        ]
        assert await w.engine_jobs() == 100


async def test_a_tick_that_finds_nothing_asks_once(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(20):
        await w.job(code=n)
    await w.tick()
    asked = Counter[str]()
    fetchrow = w.db.fetchrow

    async def counted(sql: str, *args: Any, **options: Any) -> Any:
        asked["look"] += 1
        return await fetchrow(sql, *args, **options)

    monkeypatch.setattr(w.db, "fetchrow", counted)
    for name in ("fetch", "fetchval", "execute", "retrying"):
        monkeypatch.setattr(w.db, name, None)
    await w.tick()
    assert asked == {"look": 1}
