"""Sources of due work: ticked when woken, when the next is due, and from time to time, whatever they raise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tidemill.engine import due
from tidemill.engine.due import tick_always
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database

from .support import PATIENCE, working


class Source:
    """Answers its ticks with what it is given, then with None."""

    name = "tides"

    def __init__(self, *answers: float | Exception | None) -> None:
        self._answers = list(answers)
        self.ticks = asyncio.Semaphore(0)

    async def tick(self) -> float | None:
        self.ticks.release()
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ticked(self, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            for _ in range(times):
                await self.ticks.acquire()


@asynccontextmanager
async def ticking(source: Source, *, hears: bool = True) -> AsyncGenerator[asyncio.Event]:
    woken = asyncio.Event()
    task = asyncio.create_task(tick_always(source, woken, lambda: hears))
    try:
        yield woken
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a poll."""
    monkeypatch.setattr(due, "POLL_S", 1e6)
    monkeypatch.setattr(due, "POLL_DEAF_S", 1e6)


@pytest.mark.usefixtures("never")
async def test_it_ticks_at_the_start_when_woken_and_when_the_next_is_due() -> None:
    source = Source(None, 0.01, 0.0, -5.0, None)
    async with ticking(source) as woken:
        await source.ticked()
        woken.set()
        await source.ticked(4)
        await asyncio.sleep(0.05)
        assert source.ticks.locked()


@pytest.mark.usefixtures("never")
async def test_what_a_tick_raises_costs_that_tick_alone() -> None:
    source = Source(ValueError("what a tenant wrote"), DatabaseUnavailable("away"), None)
    async with ticking(source) as woken:
        for _ in range(3):
            await source.ticked()
            await asyncio.sleep(0)  # until it waits
            woken.set()
        await source.ticked()


@pytest.mark.parametrize(("hears", "poll"), [(True, "POLL_S"), (False, "POLL_DEAF_S")])
async def test_it_ticks_from_time_to_time_sooner_where_nothing_would_be_heard(
    monkeypatch: pytest.MonkeyPatch, hears: bool, poll: str
) -> None:
    monkeypatch.setattr(due, "POLL_S", 1e6)
    monkeypatch.setattr(due, "POLL_DEAF_S", 1e6)
    monkeypatch.setattr(due, poll, 0.01)
    source = Source()
    async with ticking(source, hears=hears):
        await source.ticked(3)


def test_an_idle_source_is_ticked_less_than_twice_a_second() -> None:
    assert due.POLL_S >= due.POLL_DEAF_S >= 1.0


@pytest.mark.usefixtures("never")
async def test_a_worker_wakes_the_source_that_a_notification_names_and_all_when_it_may_have_missed_some(
    db: Database,
) -> None:
    named, other = Source(), Source()
    other.name = "winds"
    async with working(db, sources=[named, other]) as (_, worker):
        async with asyncio.timeout(PATIENCE):
            while not worker.hears:
                await asyncio.sleep(0.01)
        for source in (named, other):  # at the start, and once the listener is there
            await source.ticked(2)
        await db.execute("select pg_notify('tidemill_due', 'tides')")
        await named.ticked()
        assert other.ticks.locked()
        await db.execute("select pg_notify('tidemill_due', '')")
        await named.ticked()
        await other.ticked()
