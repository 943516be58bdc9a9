from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.engine.by_hand import claim, engine_of, idle_kind, new_node
from tidemill.engine import (
    Backoff,
    BatchSummary,
    Context,
    Done,
    Engine,
    Kind,
    NewJob,
    Orphan,
    Partial,
    Registry,
    Skip,
    advance_batch,
    close_batch,
    locks,
    seal_batch,
)
from tidemill.engine.cancel import cancel_jobs
from tidemill.engine.finish import Ending, finish_all
from tidemill.postgres import Connection, Database

from .support import quiet, until, working


class Fleet:
    """Kinds whose batches end in ``closed``."""

    def __init__(self) -> None:
        self.closed: list[tuple[dict[str, Any], BatchSummary | None]] = []
        self.orphans: list[Orphan] = []
        self.hold = asyncio.Event()
        self.kinds = (
            Kind("member", self.member, max_attempts=2, backoff=Backoff(base=0.01), on_orphan=self.orphaned),
            Kind("close", self.close),
        )

    async def member(self, ctx: Context, args: dict[str, Any]) -> Any:
        match args["end"]:
            case "partial":
                return Partial("half")
            case "skip":
                return Skip("nothing")
            case "die":
                raise ValueError("no")
            case "hold":
                await self.hold.wait()
        return Done()

    async def close(self, ctx: Context, args: dict[str, Any]) -> None:
        async with ctx.transaction() as conn:
            summary = await close_batch(conn, UUID(args["batch"]))
        self.closed.append((args, summary))

    async def orphaned(self, conn: Connection, orphans: list[Orphan]) -> None:
        self.orphans.extend(orphans)


def members(batch: UUID, *ends: str) -> list[NewJob]:
    return [NewJob(kind="member", args={"end": end}, batch=batch) for end in ends]


async def test_a_batch_counts_every_kind_of_end_once_and_closes_once(db: Database) -> None:
    fleet = Fleet()
    async with working(db, *fleet.kinds) as (engine, _):
        async with db.transaction() as conn:
            batch = await engine.open_batch(conn, on_close="close", args={"run": 7})
            await engine.enqueue_many(members(batch, "done", "done", "partial", "skip", "die"), conn=conn)
            assert await seal_batch(conn, batch)
        await quiet(db)
    [(args, summary)] = fleet.closed
    assert args == {"run": 7, "batch": str(batch), "reason": "drained"}
    assert summary == BatchSummary(5, 5, {"done": 2, "partial": 1, "skipped": 1, "dead": 1}, "drained")
    assert await db.fetchval("select state from tidemill.batch") == "closed"


async def test_a_batch_does_not_close_before_it_is_sealed_however_fast_its_jobs_are(db: Database) -> None:
    fleet = Fleet()
    async with working(db, *fleet.kinds) as (engine, _):
        async with db.transaction() as conn:
            batch = await engine.open_batch(conn, on_close="close", args={})
        for _ in range(3):
            await engine.enqueue_many(members(batch, "done", "done"))
            await quiet(db)
        assert fleet.closed == []
        async with db.transaction() as conn:
            await seal_batch(conn, batch)
        await quiet(db)
    assert [s.total for _, s in fleet.closed if s] == [6]


async def test_an_empty_batch_closes_when_it_is_sealed(db: Database) -> None:
    fleet = Fleet()
    async with working(db, *fleet.kinds) as (engine, _):
        async with db.transaction() as conn:
            batch = await engine.open_batch(conn, on_close="close", args={})
            await seal_batch(conn, batch)
        await quiet(db)
    assert fleet.closed[0][1] == BatchSummary(0, 0, {}, "drained")


async def test_the_closing_job_of_a_tenants_batch_waits_in_the_tenants_lane(db: Database) -> None:
    engine, tenant = Engine(db, Registry(Fleet().kinds)), uuid4()
    async with db.transaction() as conn:
        batch = await engine.open_batch(conn, on_close="close", args={}, tenant=tenant)
        await seal_batch(conn, batch)
    lane = "select lane = tidemill.lane_of($1) and tenant = $1 from tidemill.job_ready"
    assert await db.fetchval(lane, tenant)


@pytest.mark.parametrize("sealed", [True, False])
async def test_at_its_deadline_what_is_left_of_a_batch_is_ended_skipped_and_it_closes(
    db: Database, sealed: bool
) -> None:
    fleet = Fleet()
    async with working(db, *fleet.kinds, concurrency=2) as (engine, worker):
        now = await db.fetchval("select tidemill.now()")
        async with db.transaction() as conn:
            batch = await engine.open_batch(conn, on_close="close", args={}, deadline=now + timedelta(minutes=15))
            await engine.enqueue_many(members(batch, "done"), conn=conn)
        await quiet(db)
        async with db.transaction() as conn:
            await engine.enqueue_many(members(batch, "hold", "hold", "done"), conn=conn)
            await engine.enqueue("member", {"end": "done"}, batch=batch, delay=7200, conn=conn)
            if sealed:
                await seal_batch(conn, batch)
        await until(lambda: db.fetchval("select count(*) = 2 from tidemill.job_lease"), what="two jobs held")
        await db.execute("select tidemill.advance_clock(interval '16 minutes')")
        await until(lambda: db.fetchval("select state = 'closing' from tidemill.batch"), what="the deadline")
        fleet.hold.set()
        await quiet(db)
        async with db.transaction() as conn:
            assert not await advance_batch(conn, batch, None)
    assert worker.lost == 2
    [(args, summary)] = fleet.closed
    assert args["reason"] == "deadline"
    assert summary == BatchSummary(5, 5, {"done": 1, "skipped": 4}, "deadline")
    assert sorted(o.reason for o in fleet.orphans) == ["deadline"] * 4


async def test_a_batch_whose_closing_job_is_cancelled_is_over_and_its_lock_free(db: Database) -> None:
    fleet = Fleet()
    engine = Engine(db, Registry(fleet.kinds))
    async with db.transaction() as conn:
        batch = await engine.open_batch(conn, on_close="close", args={})
        ttl = timedelta(minutes=1)
        assert (await locks.acquire(conn, "nightly", owner=str(batch), ttl=ttl, batch=batch)).acquired
        await seal_batch(conn, batch)
    closing = await db.fetchval("select id from tidemill.job_ready")
    await cancel_jobs(engine, [closing], by="ops")
    assert await db.fetchval("select state || ' ' || reason from tidemill.batch") == "closed cancelled"
    assert await db.fetchval("select locked_until <= clock_timestamp() from public.system_job_locks")


async def test_an_open_batch_with_nothing_left_still_closes_at_its_deadline(db: Database) -> None:
    fleet = Fleet()
    async with working(db, *fleet.kinds) as (engine, _):
        now = await db.fetchval("select tidemill.now()")
        async with db.transaction() as conn:
            await engine.open_batch(conn, on_close="close", args={}, deadline=now - timedelta(seconds=1))
        await until(lambda: db.fetchval("select state = 'closed' from tidemill.batch"), what="the close")
    assert fleet.closed[0][1] == BatchSummary(0, 0, {}, "deadline")


async def test_a_batch_that_is_closing_gets_no_second_closing_job_from_one_that_ends_late(db: Database) -> None:
    engine = engine_of(db, idle_kind("member"), idle_kind("close"))
    async with db.transaction() as conn:
        batch: UUID = await engine.open_batch(conn, on_close="close", args={})
        await engine.enqueue_many([NewJob(kind="member", batch=batch)] * 2, conn=conn)
        await seal_batch(conn, batch)
    held = await claim(engine, (await new_node(db)).id)
    await finish_all(db, engine.registry, [Ending(held[0], "done")])
    await db.execute("update tidemill.batch set state = 'closing'")
    await finish_all(db, engine.registry, [Ending(held[1], "done")])
    assert await db.fetchval("select finished from tidemill.batch") == 2
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 0


async def test_the_lock_of_a_batch_is_renewed_while_it_is_open_and_freed_when_it_closes(db: Database) -> None:
    fleet = Fleet()
    async with working(db, *fleet.kinds) as (engine, _):
        async with db.transaction() as conn:
            batch = await engine.open_batch(conn, on_close="close", args={})
            taken = await locks.acquire(conn, "nightly", owner=str(batch), ttl=timedelta(seconds=30), batch=batch)
            assert taken.acquired
            await engine.enqueue_many(members(batch, "hold"), conn=conn)
            await seal_batch(conn, batch)

        async def renewed() -> bool:
            until_now = await db.fetchval("select locked_until from public.system_job_locks")
            return taken.locked_until is not None and until_now > taken.locked_until

        await until(renewed, what="a renewal")
        async with db.transaction() as conn:
            assert not (await locks.acquire(conn, "nightly", owner="other", ttl=timedelta(seconds=3))).acquired
        fleet.hold.set()
        await quiet(db)
        async with db.transaction() as conn:
            assert (await locks.acquire(conn, "nightly", owner="other", ttl=timedelta(seconds=3))).acquired
