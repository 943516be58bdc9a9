from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tidemill.engine import (
    Backoff,
    Cancel,
    Context,
    Done,
    Engine,
    KeyHeld,
    Kind,
    NewJob,
    Partial,
    Registry,
    Skip,
    Snooze,
)
from tidemill.engine.callers import EnqueueBlocked
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .by_hand import engine_of, idle_kind
from .support import IMPATIENT, history, quiet, until, working

SOON = Backoff(base=0.01, cap=0.02)


def kind(name: str, handler: Any, **rules: Any) -> Kind:
    return Kind(name, handler, **{"backoff": SOON, **rules})


async def test_a_job_runs_once_and_leaves_its_result_in_the_history(db: Database) -> None:
    seen: list[dict[str, Any]] = []

    async def greet(ctx: Context, args: dict[str, Any]) -> Done:
        seen.append(args)
        return Done({"hello": args["name"]})

    async with working(db, kind("greet", greet)) as (engine, _):
        await engine.enqueue("greet", {"name": "tide"})
        await quiet(db)
    assert seen == [{"name": "tide"}]
    assert await history(db) == [("greet", 1, "done", None)]
    assert await db.fetchval("select result from tidemill.job_run") == {"hello": "tide"}


WRITTEN = """
select k.name as kind, q.name as queue, r.priority, r.max_attempts, r.tenant, (r.args ->> 'n')::int as n
from tidemill.job_ready r join tidemill.kind k on k.id = r.kind join tidemill.queue q on q.id = r.queue order by r.id
"""


@pytest.mark.parametrize("alike", [True, False])
async def test_of_many_jobs_each_is_written_with_what_is_its_own(db: Database, alike: bool) -> None:
    kinds = [idle_kind("one", priority=3), idle_kind("two", queue="other", max_attempts=7)]
    engine = engine_of(db, *kinds)
    one, two = (NewJob(kind="one", args={"n": n}, tenant=UUID(int=n)) for n in (0, 1))
    jobs = [one, two] if alike else [one, two, NewJob(kind="two", priority=-2), NewJob(kind="one", max_attempts=1)]
    await engine.enqueue_many(jobs)
    expected: list[tuple[Any, ...]] = [
        ("one", "default", 3, 20, UUID(int=0), 0),
        ("one", "default", 3, 20, UUID(int=1), 1),
        ("two", "other", -2, 7, None, None),
        ("one", "default", 3, 1, None, None),
    ]
    assert [tuple(row) for row in await db.fetch(WRITTEN)] == expected[: len(jobs)]


async def test_many_jobs_are_enqueued_in_one_statement_and_each_runs_once(db: Database) -> None:
    seen: list[int] = []

    async def count(ctx: Context, args: dict[str, Any]) -> None:
        seen.append(args["n"])

    async with working(db, kind("count", count), concurrency=50) as (engine, _):
        ids = await engine.enqueue_many([NewJob(kind="count", args={"n": n}) for n in range(700)])
        await quiet(db)
    assert len(set(ids)) == 700
    assert sorted(seen) == list(range(700))


@pytest.mark.parametrize(
    "jobs",
    [[NewJob(kind="noop", args={})], [NewJob(kind="noop", args={})] * 3, [NewJob(kind="noop", args={}, delay=60)]],
    ids=["one", "many", "delayed"],
)
async def test_whoever_enqueues_again_and_again_is_planned_for_but_a_few_times(
    db: Database, jobs: list[NewJob]
) -> None:
    async def nothing(ctx: Context, args: dict[str, Any]) -> None: ...

    async with await Database.open(db.url, max_size=1) as one:
        engine = Engine(one, Registry([kind("noop", nothing)]))
        for _ in range(20):
            await engine.enqueue_many(jobs)
        [plans] = await one.fetch(
            "select generic_plans, custom_plans from pg_prepared_statements where generic_plans + custom_plans >= 20"
        )
    assert tuple(plans) == (15, 5), "Postgres plans a statement five times before it may keep a plan"


async def test_a_job_commits_or_rolls_back_with_the_callers_data(db: Database) -> None:
    registry = Registry()

    async def never(ctx: Context, args: dict[str, Any]) -> None:
        raise AssertionError

    registry.add(kind("never", never))
    engine = Engine(db, registry)
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as conn:
            await engine.enqueue("never", conn=conn, key="k")
            raise ZeroDivisionError
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 0
    assert await db.fetchval("select count(*) from tidemill.unique_key") == 0


async def test_a_failing_job_is_retried_with_backoff_until_its_attempts_are_used_up_and_is_then_dead(
    db: Database,
) -> None:
    orphans: list[tuple[str, str]] = []

    async def fail(ctx: Context, args: dict[str, Any]) -> None:
        raise ValueError(f"attempt {ctx.job.attempt}")

    async def tell(conn: Any, jobs: Any) -> None:
        orphans.extend((o.outcome, o.reason) for o in jobs)

    async with working(db, kind("fail", fail, max_attempts=3, on_orphan=tell)) as (engine, _):
        await engine.enqueue("fail", key="only")
        await quiet(db)
    assert await history(db) == [
        ("fail", 1, "retry", "ValueError: attempt 1"),
        ("fail", 2, "retry", "ValueError: attempt 2"),
        ("fail", 3, "dead", "ValueError: attempt 3"),
    ]
    assert await db.fetchval("select reason from tidemill.job_dead") == "ValueError: attempt 3"
    assert await db.fetchval("select count(*) from tidemill.unique_key") == 0
    assert orphans == [("dead", "ValueError: attempt 3")]


async def test_an_attempt_that_takes_too_long_is_cancelled_and_counts_as_an_error(db: Database) -> None:
    async def hang(ctx: Context, args: dict[str, Any]) -> Done:
        if ctx.job.attempt == 1:
            await asyncio.Event().wait()
        return Done()

    async with working(db, kind("hang", hang, timeout=0.1)) as (engine, _):
        await engine.enqueue("hang")
        await quiet(db)
    assert [(a, o, r) for _, a, o, r in await history(db)] == [(1, "retry", "timed out after 0.1 s"), (2, "done", None)]


async def test_a_snooze_spends_no_attempt_and_keeps_the_unique_key(db: Database) -> None:
    runs = 0

    async def nap(ctx: Context, args: dict[str, Any]) -> Snooze | Done:
        nonlocal runs
        runs += 1
        assert ctx.job.attempt == 1
        return Snooze(0.01) if runs < 3 else Done()

    async with working(db, kind("nap", nap, max_attempts=1)) as (engine, _):
        await engine.enqueue("nap", key="bed")
        await quiet(db)
    assert runs == 3
    assert await history(db) == [("nap", 1, "done", None)]


async def test_every_outcome_is_recorded_under_its_own_name(db: Database) -> None:
    async def end(ctx: Context, args: dict[str, Any]) -> Any:
        return {"partial": Partial("half"), "skip": Skip("nothing due"), "cancel": Cancel("not wanted")}[args["how"]]

    async with working(db, kind("end", end)) as (engine, _):
        for how in ("partial", "skip", "cancel"):
            await engine.enqueue("end", {"how": how})
        await quiet(db)
    assert sorted((o, r) for _, _, o, r in await history(db)) == [
        ("cancelled", "not wanted"),
        ("partial", "half"),
        ("skipped", "nothing due"),
    ]


async def test_the_wait_for_a_key_that_another_transaction_is_taking_has_an_end(db: Database) -> None:
    engine = Engine(db, Registry([kind("wait", quiet)]))
    await db.execute(IMPATIENT)
    async with db.transaction() as first:
        await engine.enqueue("wait", conn=first, key="a")
        with pytest.raises(EnqueueBlocked):
            await engine.enqueue("wait", key="a")
        with pytest.raises(EnqueueBlocked):
            async with db.transaction() as second:
                await engine.enqueue("wait", conn=second, key="a")


async def test_a_unique_key_is_held_from_enqueue_to_the_end_and_then_free_again(db: Database) -> None:
    go = asyncio.Event()

    async def wait(ctx: Context, args: dict[str, Any]) -> None:
        await go.wait()

    async with working(db, kind("wait", wait), kind("other", wait)) as (engine, _):
        await engine.enqueue("wait", key="a")
        with pytest.raises(KeyHeld, match="already holds the key 'a'"):
            await engine.enqueue("wait", key="a")
        await engine.enqueue("other", key="a")  # a key belongs to its kind
        assert await engine.enqueue_many([NewJob(kind="wait", key="a"), NewJob(kind="wait", key="b")]) != [None, None]
        go.set()
        await quiet(db)
        await engine.enqueue("wait", key="a")
        await quiet(db)


async def test_a_delayed_job_starts_when_the_clock_reaches_it_and_not_before(db: Database) -> None:
    async def note(ctx: Context, args: dict[str, Any]) -> None: ...

    async with working(db, kind("note", note)) as (engine, _):
        await engine.enqueue("note", delay=3600)
        await engine.enqueue("note", at=await db.fetchval("select tidemill.now()") + timedelta(hours=2))
        assert await db.fetchval("select count(*) from tidemill.job_delayed") == 2
        assert await history(db) == []
        await db.execute("select tidemill.advance_clock(interval '61 minutes')")
        await until(lambda: history(db), what="the first delayed job")
        assert await db.fetchval("select count(*) from tidemill.job_delayed") == 1


async def test_higher_priority_first_and_a_point_is_worth_a_minute_of_waiting(db: Database) -> None:
    order: list[str] = []

    async def note(ctx: Context, args: dict[str, Any]) -> None:
        order.append(args["name"])

    registry = Registry()
    registry.add(kind("note", note))
    engine = Engine(db, registry)
    await engine.enqueue("note", {"name": "old"})
    await db.execute("select tidemill.advance_clock(interval '10 minutes')")
    await engine.enqueue("note", {"name": "new"})
    await engine.enqueue("note", {"name": "urgent"}, priority=5)
    await engine.enqueue("note", {"name": "more urgent"}, priority=50)
    async with working(db, kind("note", note), concurrency=1):
        await quiet(db)
    assert order == ["more urgent", "old", "urgent", "new"]


async def test_a_graceful_stop_gives_running_jobs_back_without_spending_an_attempt(db: Database) -> None:
    started = asyncio.Event()

    async def hang(ctx: Context, args: dict[str, Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    async with working(db, kind("hang", hang), grace=0.1) as (engine, _):
        await engine.enqueue("hang")
        await started.wait()
    row = await db.fetchrow("select attempt, crashes from tidemill.job_ready")
    assert tuple(row) == (0, 0)
    assert await history(db) == []
    assert await db.fetchval("select count(*) from tidemill.node") == 0


async def test_a_kind_that_only_newer_workers_know_waits_for_them(db: Database) -> None:
    async def note(ctx: Context, args: dict[str, Any]) -> None: ...

    newer = Registry()
    newer.add(kind("newer", note))
    await Engine(db, newer).enqueue("newer")
    async with working(db, kind("note", note)):
        await until(lambda: db.fetchval("select count(*) from tidemill.job_delayed"), what="the unknown job snoozed")
    assert await db.fetchval("select attempt from tidemill.job_delayed") == 0


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "nobody"}, "kind"),
        ({"key": ""}, "key"),
        ({"key": "x" * 501}, "key"),
        ({"priority": 5000}, "priority"),
        ({"delay": -1}, "delay"),
        ({"delay": float("nan")}, "delay"),
    ],
)
async def test_wrong_input_is_refused_with_the_fields_name_and_nothing_is_written(
    db: Database, wrong: dict[str, Any], field: str
) -> None:
    async def note(ctx: Context, args: dict[str, Any]) -> None: ...

    registry = Registry()
    registry.add(kind("note", note))
    engine = Engine(db, registry)
    with pytest.raises(InvalidInput) as refused:
        await engine.enqueue_many([NewJob(kind="note"), NewJob(**{"kind": "note", **wrong})])
    assert refused.value.field == field
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 0
