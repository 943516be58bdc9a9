from __future__ import annotations

from typing import Any

import pytest

from tidemill.engine import Context, Kind
from tidemill.engine.queues import (
    list_queues,
    pause_kind,
    pause_queue,
    paused_kinds,
    resume_kind,
    resume_queue,
)
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import quiet, until, working
from .test_cancel import idle


async def test_a_paused_queue_gives_out_nothing_and_the_others_go_on_until_it_is_resumed(db: Database) -> None:
    ran: list[str] = []

    async def note(ctx: Context, args: dict[str, Any]) -> None:
        ran.append(ctx.job.kind)

    async with working(db, Kind("one", note, queue="a"), Kind("two", note, queue="b")) as (engine, _):
        await pause_queue(db, "a", by="ops")
        await engine.enqueue("one")
        await engine.enqueue("two")
        await engine.enqueue("two", delay=0.01)  # promoted by an upkeep that comes after both

        async def _both_ran() -> bool:
            return len(ran) == 2

        await until(_both_ran, what="both jobs of the other queue")
        assert ran == ["two", "two"]
        await resume_queue(db, "a")
        await quiet(db)
    assert ran == ["two", "two", "one"]


async def test_whoever_pauses_first_keeps_their_name_to_it(db: Database) -> None:
    await idle(db).enqueue("work")
    assert await pause_queue(db, "works", by="first") == "first"
    assert await pause_queue(db, "works", by="second") == "first"
    assert await pause_kind(db, "work", by="first") == "first"
    assert await pause_kind(db, "work", by="second") == "first"
    await resume_queue(db, "works")
    assert await pause_queue(db, "works", by="second") == "second"


async def test_paused_kinds_are_listed_until_they_are_resumed(db: Database) -> None:
    await idle(db, "one", "two").enqueue("one")
    await idle(db, "one", "two").enqueue("two")
    assert await paused_kinds(db) == []
    await pause_kind(db, "two", by="ops")
    assert [(k.name, k.paused_by) for k in await paused_kinds(db)] == [("two", "ops")]
    await resume_kind(db, "two")
    assert await paused_kinds(db) == []


async def test_queues_are_listed_with_their_jobs_by_state_and_the_age_of_the_oldest_ready_one(db: Database) -> None:
    engine = idle(db, "one", "two")
    await engine.enqueue("one")
    await engine.enqueue("one", delay=3600)
    await db.fetchval("select tidemill.advance_clock('10 minutes')")
    await engine.enqueue("one")
    await engine.enqueue("two", delay=3600)
    await pause_queue(db, "twos", by="ops")
    first, second = await list_queues(db)
    assert (first.name, first.ready, first.delayed, first.running, first.dead) == ("ones", 2, 1, 0, 0)
    assert first.oldest_ready_s is not None
    assert 600 <= first.oldest_ready_s < 1200
    assert (first.paused_at, first.paused_by) == (None, None)
    assert (second.name, second.ready, second.delayed, second.oldest_ready_s) == ("twos", 0, 1, None)
    assert (second.paused_at is not None, second.paused_by) == (True, "ops")


async def test_a_name_that_does_not_exist_is_refused_with_those_that_do(db: Database) -> None:
    await idle(db).enqueue("work")
    with pytest.raises(InvalidInput, match="queue: there is no queue 'nope'; known: works"):
        await pause_queue(db, "nope", by="ops")
    with pytest.raises(InvalidInput, match="queue: there is no queue 'nope'; known: works"):
        await resume_queue(db, "nope")
    with pytest.raises(InvalidInput, match="kind: there is no kind 'nope'; known: work"):
        await pause_kind(db, "nope", by="ops")
    with pytest.raises(InvalidInput, match="kind: there is no kind 'nope'; known: work"):
        await resume_kind(db, "nope")
    with pytest.raises(InvalidInput, match="by"):
        await pause_queue(db, "works", by="")


async def test_a_paused_kind_gives_out_nothing_while_the_others_of_its_queue_go_on(db: Database) -> None:
    ran: list[str] = []

    async def note(ctx: Context, args: dict[str, Any]) -> None:
        ran.append(ctx.job.kind)

    async with working(db, Kind("one", note), Kind("two", note)) as (engine, _):
        await engine.names.learn(db, ["one", "two"], ["default"])
        await pause_kind(db, "one", by="ops")
        await engine.enqueue("one")
        await engine.enqueue("two")

        async def _one_ran() -> bool:
            return bool(ran)

        await until(_one_ran, what="the job of the other kind")
        assert ran == ["two"]
        await resume_kind(db, "one")
        await quiet(db)
    assert ran == ["two", "one"]
