from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tidemill.errors import DatabaseUnavailable
from tidemill.sync.coalesce import Coalescer

LONG = 3600.0
"""Seconds nobody waits for: what ends the linger here is a full group."""


class Squares:
    """Work that squares numbers, notes its groups, and can be held."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(items))
        self.begun.set()
        await self.go.wait()
        if 13 in items:
            raise ValueError("unlucky")
        if 0 in items:
            raise DatabaseUnavailable("gone")
        return [LookupError("no such") if item < 0 else item * item for item in items]


async def test_what_is_asked_for_together_is_done_together_and_each_gets_its_own_answer() -> None:
    work = Squares()
    square = Coalescer(work, linger_s=LONG, most=3)
    async with asyncio.timeout(30):
        assert await asyncio.gather(square(1), square(2), square(3)) == [1, 4, 9]
    assert work.groups == [[1, 2, 3]]


async def test_a_single_call_waits_no_longer_than_the_linger() -> None:
    work = Squares()
    square = Coalescer(work, linger_s=0.001, most=100)
    async with asyncio.timeout(30):
        assert [await square(n) for n in (1, 2)] == [1, 4]
    assert work.groups == [[1], [2]]


async def test_while_one_group_is_under_way_the_next_one_collects_and_none_is_too_large() -> None:
    work = Squares()
    work.go.clear()
    square = Coalescer(work, linger_s=0.001, most=2)
    async with asyncio.timeout(30):
        first = asyncio.create_task(square(1))
        await work.begun.wait()
        rest = [asyncio.create_task(square(n)) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        assert work.groups == [[1]]
        work.go.set()
        assert await asyncio.gather(first, *rest) == [1, 4, 9, 16]
    assert work.groups == [[1], [2, 3], [4]]


async def test_an_exception_as_an_answer_is_raised_to_its_asker_alone() -> None:
    square = Coalescer(Squares(), linger_s=LONG, most=2)
    async with asyncio.timeout(30):
        good, bad = await asyncio.gather(square(2), square(-1), return_exceptions=True)
    assert good == 4
    assert isinstance(bad, LookupError)


async def test_a_group_that_fails_is_done_one_by_one_so_that_only_the_cause_fails() -> None:
    work = Squares()
    square = Coalescer(work, linger_s=LONG, most=3)
    async with asyncio.timeout(30):
        one, unlucky, two = await asyncio.gather(square(1), square(13), square(2), return_exceptions=True)
    assert (one, two) == (1, 4)
    assert isinstance(unlucky, ValueError)
    assert work.groups == [[1, 13, 2], [1], [13], [2]]


async def test_a_database_that_is_away_is_away_for_all_and_not_asked_again_for_each() -> None:
    work = Squares()
    square = Coalescer(work, linger_s=LONG, most=2)
    async with asyncio.timeout(30):
        answers = await asyncio.gather(square(0), square(1), return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 2
    assert work.groups == [[0, 1]]


async def test_who_is_cancelled_before_the_group_begins_is_left_out_and_later_it_disturbs_nobody() -> None:
    work = Squares()
    work.go.clear()
    square = Coalescer(work, linger_s=0.001, most=10)
    async with asyncio.timeout(30):
        first, second = asyncio.create_task(square(1)), asyncio.create_task(square(2))
        await work.begun.wait()
        early = asyncio.create_task(square(3))
        await asyncio.sleep(0)
        early.cancel()
        first.cancel()
        work.go.set()
        assert await second == 4
        assert await square(4) == 16
    assert first.cancelled()
    assert work.groups == [[1, 2], [4]]


async def test_when_its_loop_ends_nobody_is_left_waiting() -> None:
    work = Squares()
    work.go.clear()
    square = Coalescer(work, linger_s=0.001, most=1)
    async with asyncio.timeout(30):
        under_way = asyncio.create_task(square(1))
        await work.begun.wait()
        waiting = asyncio.create_task(square(2))
        await asyncio.sleep(0)
        [flusher] = [task for task in asyncio.all_tasks() if task.get_name() == "coalescer"]
        flusher.cancel()
        for asked in (under_way, waiting):
            with pytest.raises(asyncio.CancelledError):
                await asked
