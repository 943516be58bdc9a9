from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tidemill.engine import Context, Engine, Job, Kind, NewJob, Orphan, Registry, seal_batch
from tidemill.engine.cancel import CancelAnswer, Cancelled, Stop, cancel_jobs, cancel_matching, heed_cancels
from tidemill.engine.finish import Ending, finish
from tidemill.engine.look import JobFilter
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database

from .support import history, quiet, until, working
from .test_leases import claim, claimed

CANCELLED = CancelAnswer("cancelled", "cancelled")


def idle(db: Database, *names: str, on_orphan: Any = None) -> Engine:
    """An engine without a worker, so that jobs stay where they are put."""

    async def never(ctx: Context, args: dict[str, Any]) -> None:
        raise AssertionError

    registry = Registry()
    for name in names or ("work",):
        registry.add(Kind(name, never, queue=f"{name}s", on_orphan=on_orphan))
    return Engine(db, registry)


async def end(db: Database, job: Job, **how: Any) -> None:
    async with db.transaction() as conn:
        assert await finish(conn, [Ending(job, **how)]) == {job.id}


async def asks(db: Database) -> list[int]:
    return [row["job"] for row in await db.fetch("select job from tidemill.job_cancel order by job")]


async def test_a_waiting_job_ends_cancelled_at_once_and_frees_its_key(db: Database) -> None:
    engine = idle(db)
    ready = await engine.enqueue("work", key="a")
    delayed = await engine.enqueue("work", key="b", delay=3600)
    assert await cancel_jobs(engine, [ready, delayed], by="ops") == {ready: CANCELLED, delayed: CANCELLED}
    assert await history(db) == [("work", 0, "cancelled", "cancelled by ops")] * 2
    for table in ("job_ready", "job_delayed", "job_lease", "unique_key", "job_cancel"):
        assert await db.fetchval(f"select count(*) from tidemill.{table}") == 0, table
    await engine.enqueue("work", key="a")


async def test_the_owner_of_a_kind_is_told_of_its_cancelled_jobs_in_the_transaction_that_ends_them(
    db: Database,
) -> None:
    told: list[Orphan] = []

    async def tell(conn: Connection, orphans: list[Orphan]) -> None:
        assert await conn.fetchval("select count(*) from tidemill.job_run") == 2
        told.extend(orphans)

    engine = idle(db, on_orphan=tell)
    jobs = [await engine.enqueue("work", {"n": n}) for n in range(2)]
    await cancel_jobs(engine, jobs, by="ops")
    assert sorted((o.job.id, o.outcome, o.reason) for o in told) == [(job, "cancelled", "cancelled") for job in jobs]


async def test_a_batch_counts_its_cancelled_jobs_and_closes(db: Database) -> None:
    engine = idle(db, "work", "close")
    async with db.transaction() as conn:
        batch = await engine.open_batch(conn, on_close="close", args={})
        ids = await engine.enqueue_many([NewJob(kind="work", batch=batch), NewJob(kind="work", batch=batch)], conn=conn)
        await seal_batch(conn, batch)
    await cancel_jobs(engine, [i for i in ids if i is not None], by="ops")
    row = await db.fetchrow("select state, finished, counts from tidemill.batch")
    assert row is not None
    assert tuple(row) == ("closing", 2, {"cancelled": 2})


async def test_a_running_job_keeps_its_lease_and_its_node_is_told_to_stop_that_attempt(db: Database) -> None:
    engine, job = await claimed(db)
    assert await cancel_jobs(engine, [job.id], by="ops") == {job.id: CancelAnswer("asked")}
    assert await cancel_jobs(engine, [job.id], by="somebody else") == {job.id: CancelAnswer("asked")}
    assert await heed_cancels(engine, db, job.node) == [Stop(job.id, job.token, "cancelled by ops")]
    assert await heed_cancels(engine, db, job.node + 1) == []
    assert await db.fetchval("select token from tidemill.job_lease") == job.token


async def test_an_ask_is_forgotten_once_the_job_has_ended_by_itself(db: Database) -> None:
    engine, job = await claimed(db)
    await cancel_jobs(engine, [job.id], by="ops")
    await end(db, job, outcome="done")
    assert await heed_cancels(engine, db, job.node) == []
    assert await asks(db) == []
    assert [h[2] for h in await history(db)] == ["done"]


@pytest.mark.parametrize(
    "how", [{"outcome": "retry", "delay": 3600.0}, {"outcome": "snooze", "delay": 3600.0}, {"outcome": "release"}]
)
async def test_a_job_that_was_asked_to_stop_and_went_back_to_waiting_ends_there(
    db: Database, how: dict[str, Any]
) -> None:
    engine, job = await claimed(db)
    await cancel_jobs(engine, [job.id], by="ops")
    await end(db, job, **how)
    assert await heed_cancels(engine, db, 0) == []
    assert (await history(db))[-1][2:] == ("cancelled", "cancelled by ops")
    assert await asks(db) == []
    assert await db.fetchval("select count(*) from tidemill.unique_key") == 0


async def test_the_node_that_took_the_next_attempt_is_told_and_not_the_one_before(db: Database) -> None:
    engine, first = await claimed(db)
    await cancel_jobs(engine, [first.id], by="ops")
    await end(db, first, outcome="release")
    second = await claim(engine)
    assert await heed_cancels(engine, db, first.node) == []
    assert await heed_cancels(engine, db, second.node) == [Stop(second.id, second.token, "cancelled by ops")]


async def test_a_job_that_is_being_claimed_is_not_taken_from_its_claimer(db: Database) -> None:
    engine, first = await claimed(db)
    job = await engine.enqueue("work")

    async def waiting() -> bool:
        return await db.fetchval("select exists (select from pg_stat_activity where wait_event_type = 'Lock')")

    async with db.transaction() as conn:
        # What a claim does, as far as its locks go.
        row = await conn.fetchrow("delete from tidemill.job_ready where id = $1 returning *", job)
        assert row is not None
        cancelling = asyncio.create_task(cancel_jobs(engine, [job], by="ops"))
        await until(waiting, what="the cancel waiting for the claim")
        await conn.execute(
            "insert into tidemill.job_lease (id, queue, lane, rank, kind, max_attempts, enqueued_at, args, token, node,"
            " claimed_at) values ($1, $2, 0, $3, $4, 20, $5, '{}', 77, $6, clock_timestamp())",
            *(row[name] for name in ("id", "queue", "rank", "kind", "enqueued_at")),
            first.node,
        )
    assert await cancelling == {job: CancelAnswer("asked")}
    assert await db.fetchval("select token from tidemill.job_lease where id = $1", job) == 77


async def test_jobs_that_have_ended_and_jobs_that_never_were_are_told_apart(db: Database) -> None:
    engine, done = await claimed(db)
    await end(db, done, outcome="done")
    await engine.enqueue("work")
    dead = await claim(engine)
    await end(db, dead, outcome="dead", reason="no")
    assert await cancel_jobs(engine, [done.id, dead.id, 10**12], by="ops") == {
        done.id: CancelAnswer("ended", "done"),
        dead.id: CancelAnswer("ended", "dead"),
        10**12: CancelAnswer("not found"),
    }


async def test_all_live_jobs_of_a_filter_are_cancelled_in_chunks_and_no_others(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.cancel.CHUNK", 3)
    engine, running = await claimed(db)
    other = idle(db, "other")
    tenant = uuid4()
    await engine.enqueue_many([NewJob(kind="work", delay=(n % 2) * 3600.0, tenant=tenant) for n in range(20)])
    kept = await engine.enqueue("work")
    await other.enqueue("other", tenant=tenant)
    assert await cancel_matching(engine, JobFilter(kind="work", tenant=tenant), by="ops") == Cancelled(20, 0)
    assert await cancel_matching(engine, JobFilter(queue="default"), by="ops") == Cancelled(1, 1)
    assert {row["id"] for row in await db.fetch("select id from tidemill.job_run")} >= {kept}
    assert await asks(db) == [running.id]
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 1


async def test_two_who_cancel_the_same_jobs_end_each_of_them_once(db: Database) -> None:
    engine = idle(db)
    jobs = [i for i in await engine.enqueue_many([NewJob(kind="work") for _ in range(300)]) if i is not None]
    first, second = await asyncio.gather(
        cancel_jobs(engine, jobs, by="one"), cancel_jobs(engine, list(reversed(jobs)), by="two")
    )
    assert await db.fetchval("select count(*) from tidemill.job_run") == 300
    for job in jobs:
        assert {first[job].answer, second[job].answer} <= {"cancelled", "ended"}
        assert (first[job].answer == "cancelled") != (second[job].answer == "cancelled")


async def test_what_cannot_be_asked_for_is_refused_by_name(db: Database) -> None:
    engine = idle(db)
    await engine.enqueue("work")
    for where, by, field in (
        (JobFilter(kind="nope"), "ops", "kind"),
        (JobFilter(queue="nope"), "ops", "queue"),
        (JobFilter(reason="x"), "ops", "reason"),
        (JobFilter(), "", "by"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await cancel_matching(engine, where, by=by)
        assert refused.value.field == field
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 1


async def test_a_running_handler_is_stopped_and_its_job_ends_cancelled_with_its_owner_told(db: Database) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    told: list[Orphan] = []

    async def hang(ctx: Context, args: dict[str, Any]) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def tell(conn: Connection, orphans: list[Orphan]) -> None:
        told.extend(orphans)

    async with working(db, Kind("hang", hang, on_orphan=tell)) as (engine, _):
        job = await engine.enqueue("hang", key="k")
        await started.wait()
        assert await cancel_jobs(engine, [job], by="ops") == {job: CancelAnswer("asked")}
        await stopped.wait()
        await quiet(db)

        async def forgotten() -> bool:
            return not await asks(db)

        await until(forgotten, what="the ask forgotten")
    assert await history(db) == [("hang", 1, "cancelled", "cancelled by ops")]
    assert [(o.job.id, o.outcome, o.reason) for o in told] == [(job, "cancelled", "cancelled")]
    assert await db.fetchval("select count(*) from tidemill.unique_key") == 0
