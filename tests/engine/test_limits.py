"""Limits over the fleet are never exceeded, by however many workers, and nothing waits for longer than they say."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tidemill.engine import Context, Done, Engine, Kind, NewJob, Worker
from tidemill.engine.arguments import Arguments
from tidemill.engine.limits import (
    Limit,
    drop_limit,
    list_limits,
    list_weights,
    read_limits,
    set_limit,
    set_weight,
)
from tidemill.engine.queues import pause_kind, resume_kind, scale_queue
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import quiet, until, working


@asynccontextmanager
async def fleet(
    db: Database, *kinds: Kind, workers: int = 3, concurrency: int = 10
) -> AsyncGenerator[tuple[Engine, list[Worker]]]:
    """Workers with pools of their own, as processes have them."""
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(working(db, *kinds, concurrency=concurrency)) for _ in range(workers)
        ]
        yield running[0][0], [worker for _, worker in running]


async def brief(ctx: Context, args: dict[str, Any]) -> None:
    await asyncio.sleep(random.random() * 0.004)


async def overlaps(db: Database, *by: str) -> dict[Any, int]:
    """The most attempts that ran at a time, for each value of the columns; exact, by the database's own stamps."""
    rows = await db.fetch(
        "select r.started_at, r.finished_at, k.name as kind, q.name as queue, r.tenant, r.result ->> 'of' as of"
        " from tidemill.job_run r join tidemill.kind k on k.id = r.kind join tidemill.queue q on q.id = r.queue"
    )
    most: Counter[Any] = Counter()
    running: Counter[Any] = Counter()
    moments = [(row["started_at"], 1, row) for row in rows] + [(row["finished_at"], -1, row) for row in rows]
    for _, step, row in sorted(moments, key=lambda moment: moment[:2]):
        group = tuple(row[column] for column in by)
        running[group] += step
        most[group] = max(most[group], running[group])
    return dict(most)


def limited(kind: Kind, **limits: Any) -> Kind:
    return replace(kind, limits=read_limits(**limits))


async def test_a_kinds_limit_holds_over_all_workers_and_is_used_in_full(db: Database) -> None:
    async with fleet(db, limited(Kind("work", brief), concurrency=4)) as (engine, _):
        await engine.enqueue_many([NewJob(kind="work", tenant=uuid4() if n % 2 else None) for n in range(400)])
        await quiet(db)
    assert await overlaps(db, "kind") == {("work",): 4}
    assert await db.fetchval("select count(*) from tidemill.job_run where outcome = 'done'") == 400


async def test_a_limit_per_tenant_and_one_per_argument_hold_each_and_together(db: Database) -> None:
    async def work(ctx: Context, args: dict[str, Any]) -> Any:
        await brief(ctx, args)
        return Done({"of": args["account"]})

    tenants = [uuid4() for _ in range(5)]
    kind = limited(Kind("work", work), concurrency={"all": 12, "tenant": 3, "args.account": 1})
    async with fleet(db, kind) as (engine, _):
        await engine.enqueue_many(
            [NewJob(kind="work", tenant=tenants[n % 5], args={"account": f"{n % 5}-{n % 35}"}) for n in range(420)]
        )
        await quiet(db)
    assert max((await overlaps(db, "kind")).values()) <= 12
    assert set((await overlaps(db, "tenant")).values()) <= {1, 2, 3}
    assert set((await overlaps(db, "of")).values()) == {1}


async def test_a_queue_limit_bounds_every_kind_in_it_and_leaves_the_others_alone(db: Database) -> None:
    kinds = (Kind("one", brief), Kind("two", brief), Kind("other", brief, queue="elsewhere"))
    async with fleet(db, *kinds) as (engine, _):
        await set_limit(db, Limit("concurrency", 2), queue="default", by="ops")
        await engine.enqueue_many([NewJob(kind=("one", "two", "other")[n % 3]) for n in range(300)])
        await quiet(db)
    most = await overlaps(db, "queue")
    assert most[("default",)] == 2
    assert most[("elsewhere",)] > 2


async def test_a_tenants_cap_bounds_that_tenant_over_all_kinds_and_queues(db: Database) -> None:
    large, small = uuid4(), uuid4()
    async with fleet(db, Kind("one", brief), Kind("two", brief, queue="b")) as (engine, _):
        await set_limit(db, Limit("concurrency", 1), tenant=large, by="ops")
        await engine.enqueue_many(
            [NewJob(kind=("one", "two")[n % 2], tenant=large if n % 4 < 2 else small) for n in range(200)]
        )
        await quiet(db)
    most = await overlaps(db, "tenant")
    assert most[(large,)] == 1
    assert most[(small,)] > 1


async def test_jobs_beside_limited_ones_in_the_same_queue_do_not_wait_for_them(db: Database) -> None:
    gate = asyncio.Event()
    free = 0

    async def held(ctx: Context, args: dict[str, Any]) -> None:
        await gate.wait()

    async def unbound(ctx: Context, args: dict[str, Any]) -> None:
        nonlocal free
        free += 1

    kinds = (limited(Kind("held", held), concurrency=1), Kind("unbound", unbound))
    async with working(db, *kinds, concurrency=3) as (engine, _):
        await engine.enqueue_many([NewJob(kind="held") for _ in range(50)])
        await engine.enqueue_many([NewJob(kind="unbound") for _ in range(50)])
        await until(_is(lambda: free == 50), what="the unlimited jobs")
        gate.set()
        await quiet(db)


async def test_a_limit_set_while_more_are_running_holds_back_the_next_until_there_is_room(db: Database) -> None:
    gates = [asyncio.Event() for _ in range(10)]
    begun: list[int] = []

    async def held(ctx: Context, args: dict[str, Any]) -> None:
        begun.append(args["n"])
        await gates[args["n"]].wait()

    async with fleet(db, Kind("work", held), workers=2) as (engine, _):
        await engine.enqueue_many([NewJob(kind="work", args={"n": n}) for n in range(6)])
        await until(_is(lambda: len(begun) == 6), what="six running jobs")
        await set_limit(db, Limit("concurrency", 5), kind="work", by="ops")
        await engine.enqueue_many([NewJob(kind="work", args={"n": n}) for n in range(6, 10)])
        gates[0].set()
        await until(_ended(db, 1), what="the first end")
        await until(
            lambda: db.fetchval("select every(parked_by is not null) from tidemill.flow"), what="the lane to be parked"
        )
        assert len(begun) == 6  # five run still, and five is the limit
        gates[1].set()
        await until(_is(lambda: len(begun) == 7), what="the seventh")
        await set_limit(db, Limit("concurrency", 8), kind="work", by="ops")
        await until(_is(lambda: len(begun) == 10), what="the rest, once the limit is raised")
        for gate in gates:
            gate.set()
        await quiet(db)


async def test_a_limit_of_none_stops_a_kind_until_it_is_dropped(db: Database) -> None:
    async with fleet(db, Kind("work", brief), workers=2) as (engine, _):
        limit = await set_limit(db, Limit("concurrency", 0), kind="work", by="ops")
        await engine.enqueue_many([NewJob(kind="work") for _ in range(20)])
        await until(_aside(db, 20), what="the jobs to be moved aside")
        assert await db.fetchval("select count(*) from tidemill.job_run") == 0
        await drop_limit(db, limit)
        await quiet(db)


async def test_a_retry_a_snooze_and_a_death_of_a_limited_job_make_room(db: Database) -> None:
    async def fail(ctx: Context, args: dict[str, Any]) -> None:
        raise ValueError("no")

    kind = limited(Kind("work", fail, max_attempts=2), concurrency=1)
    async with fleet(db, replace(kind, backoff=replace(kind.backoff, base=0.01)), workers=2) as (engine, _):
        await engine.enqueue_many([NewJob(kind="work") for _ in range(4)])
        await quiet(db)
    assert await db.fetchval("select count(*) from tidemill.job_dead") == 4
    assert await overlaps(db, "kind") == {("work",): 1}


async def test_no_window_of_a_rates_length_sees_more_beginnings_than_it_allows(db: Database) -> None:
    kind = limited(Kind("work", brief), rate="20/s")
    async with fleet(db, kind) as (engine, _):
        await engine.enqueue_many([NewJob(kind="work") for _ in range(70)])
        await quiet(db)
    starts = [row["at"] for row in await db.fetch("select started_at as at from tidemill.job_run order by 1")]
    for n in range(len(starts) - 20):
        assert (starts[n + 20] - starts[n]).total_seconds() > 0.999
    assert await db.fetchval("select count(*) from tidemill.job_rate") <= 62


async def test_a_rate_per_argument_counts_each_value_by_itself(db: Database) -> None:
    kind = limited(Kind("work", brief, arguments=Arguments(dict)), rate={"args.shop": "1/h"})
    async with fleet(db, kind, workers=2) as (engine, _):
        await engine.enqueue_many([NewJob(kind="work", args={"shop": n % 7}) for n in range(21)])
        await until(_ended(db, 7), what="one job a shop")
        await db.fetchval("select tidemill.advance_clock('62 minutes')")
        await until(_ended(db, 14), what="one more a shop, an hour later")
        await db.fetchval("select tidemill.advance_clock('62 minutes')")
        await quiet(db)


async def test_many_lanes_behind_one_limit_take_turns(db: Database) -> None:
    tenants = [uuid4() for _ in range(150)]
    async with fleet(db, Kind("work", brief), workers=2) as (engine, _):
        await set_limit(db, Limit("concurrency", 0), kind="work", by="ops")
        await engine.enqueue_many([NewJob(kind="work", tenant=tenant) for tenant in tenants for _ in range(3)])
        await until(_aside(db, 450), what="the jobs to be moved aside")
        await set_limit(db, Limit("concurrency", 5), kind="work", by="ops")
        await quiet(db)
    rows = await db.fetch("select tenant, row_number() over (order by started_at, id) as n from tidemill.job_run")
    first: dict[UUID, int] = {}
    for row in rows:
        first[row["tenant"]] = min(first.get(row["tenant"], 10**6), row["n"])
    assert max(first.values()) <= 150 * 2  # nobody is long into a second turn before all have had their first
    assert (await overlaps(db, "kind"))[("work",)] == 5


async def test_heavier_tenants_get_a_share_by_their_weight(db: Database) -> None:
    order: list[UUID | None] = []

    async def note(ctx: Context, args: dict[str, Any]) -> None:
        order.append(ctx.job.tenant)
        await asyncio.sleep(0)

    heavy, light = uuid4(), uuid4()
    for concurrency in (1, 8, 40):
        order.clear()
        await set_weight(db, heavy, 4, by="ops")
        async with working(db, Kind("work", note), concurrency=concurrency) as (engine, _):
            await set_limit(db, Limit("concurrency", 0), kind="work", by="ops")
            await drop_limit(db, (await list_limits(db))[-1].id)
            await db.execute("update tidemill.queue set paused_at = clock_timestamp()")
            await engine.enqueue_many(
                [NewJob(kind="work", tenant=tenant) for _ in range(200) for tenant in (heavy, light)]
            )
            await db.execute("update tidemill.queue set paused_at = null")
            await quiet(db)
        share = Counter(order[:200])[heavy] / 200
        assert 0.7 < share < 0.9, (concurrency, share)
    assert [(w.tenant, w.weight, w.set_by) for w in await list_weights(db)] == [(heavy, 4, "ops")]
    await set_weight(db, heavy, 1, by="ops")
    assert await list_weights(db) == []


async def test_a_kind_paused_with_jobs_aside_goes_on_where_it_was(db: Database) -> None:
    async with fleet(db, Kind("work", brief), Kind("other", brief), workers=2) as (engine, _):
        await pause_kind(db, "work", by="ops")
        await engine.enqueue_many([NewJob(kind=("work", "other")[n % 2]) for n in range(100)])
        await until(_ended(db, 50), what="the other kind's jobs")
        await until(_aside(db, 50), what="the paused jobs to be moved aside")
        await resume_kind(db, "work")
        await quiet(db)


async def test_limits_in_code_are_declared_changed_and_forgotten_with_it(db: Database) -> None:
    async def lines() -> list[tuple[str, int, float | None]]:
        return [(line.per, line.most, line.per_s) for line in await list_limits(db)]

    async with working(db, limited(Kind("work", brief), concurrency=3, rate={"tenant": "100/m"})):
        assert await lines() == [("all", 3, None), ("tenant", 100, 60.0)]
    async with working(db, limited(Kind("work", brief), concurrency=5)):
        assert await lines() == [("all", 5, None)]
        await set_limit(db, Limit("concurrency", 1), kind="work", by="ops")
    async with working(db, limited(Kind("work", brief), concurrency=6)):
        assert await lines() == [("all", 1, None)]  # an operator's word stands


async def test_a_queue_is_scaled_while_its_workers_run(db: Database) -> None:
    gate, begun = asyncio.Event(), 0

    async def held(ctx: Context, args: dict[str, Any]) -> None:
        nonlocal begun
        begun += 1
        await gate.wait()

    async with working(db, Kind("work", held), concurrency=2) as (engine, _):
        await engine.enqueue_many([NewJob(kind="work") for _ in range(20)])
        await until(_is(lambda: begun == 2), what="two at a time")
        await scale_queue(db, "default", 7)
        await until(_is(lambda: begun == 7), what="seven at a time")
        gate.set()
        await quiet(db)
    with pytest.raises(InvalidInput, match="per_process"):
        await scale_queue(db, "default", 0)
    with pytest.raises(InvalidInput, match="there is no queue 'nope'"):
        await scale_queue(db, "nope", 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param({"concurrency": -1}, "concurrency: -1", id="negative"),
        pytest.param({"concurrency": True}, "concurrency: True", id="bool"),
        pytest.param({"concurrency": {"user": 1}}, "concurrency: counts by 'user'", id="unknown-per"),
        pytest.param({"rate": "fast"}, "rate: 'fast' is not like", id="rate-of-nonsense"),
        pytest.param({"rate": {"args.": "1/s"}}, "rate: counts by 'args.'", id="argument-without-name"),
        pytest.param({"rate": 5}, "rate: 5 is not like", id="rate-as-a-number"),
    ],
)
def test_a_limit_that_cannot_be_taken_is_refused_by_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read_limits(**given)


async def test_a_limit_for_nothing_or_of_strangers_is_refused(db: Database) -> None:
    async with working(db, Kind("work", brief)):
        pass
    with pytest.raises(InvalidInput, match="at least one of queue, kind and tenant"):
        await set_limit(db, Limit("concurrency", 1), by="ops")
    with pytest.raises(InvalidInput, match="there is no kind 'nope'"):
        await set_limit(db, Limit("concurrency", 1), kind="nope", by="ops")
    with pytest.raises(InvalidInput, match=r"kind: is needed to count by args\.x"):
        await set_limit(db, Limit("concurrency", 1, "args.x"), queue="default", by="ops")
    with pytest.raises(InvalidInput, match="there is no limit 7"):
        await drop_limit(db, 7)
    with pytest.raises(InvalidInput, match="weight"):
        await set_weight(db, uuid4(), 101, by="ops")


def _is(check: Callable[[], bool]) -> Any:
    async def holds() -> bool:
        return check()

    return holds


def _ended(db: Database, count: int) -> Any:
    async def check() -> bool:
        return await db.fetchval("select count(*) from tidemill.job_run") == count

    return check


def _aside(db: Database, count: int) -> Any:
    async def check() -> bool:
        return await db.fetchval("select count(*) from tidemill.job_ready where lane < 0") == count

    return check
