from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tidemill.connectors import ErrorKind, Gate, MemoryGate, ProviderError, Scopes, SharedGate, shared_gate
from tidemill.connectors import gate as gates
from tidemill.connectors.gate import Strikes, slowdown
from tidemill.connectors.retry_after import retry_after
from tidemill.connectors.slots import Slots
from tidemill.engine import Budgets, spend
from tidemill.postgres import Database

A, B = Scopes.of("threads", "1", "10"), Scopes.of("threads", "1", "11")


class Clock:
    """This process's clock, which stands still until it is moved."""

    def __init__(self, *moved_with_it: Callable[[timedelta], Awaitable[object]]) -> None:
        self._others = moved_with_it
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        for advance in self._others:
            await advance(timedelta(seconds=seconds))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gates, "time", clock)
    return clock


@pytest.fixture
def clocks(db: Database, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The same, with Postgres's."""
    clock = Clock(lambda by: db.fetchval("select tidemill.advance_clock($1)", by))
    for module in (gates, shared_gate, spend):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture(params=["memory", "shared"])
def gate(request: pytest.FixtureRequest, db: Database) -> Gate:
    return MemoryGate() if request.param == "memory" else SharedGate(Budgets(db))


def about(seconds: float) -> Any:
    """What is left of a pause; Postgres's clock goes on by itself meanwhile."""
    return pytest.approx(seconds, abs=30)


async def test_a_paused_account_stops_itself_and_a_paused_app_all(gate: Gate, clocks: Clock) -> None:
    assert A.account is not None
    await gate.blocked(A.account, timedelta(seconds=600), "code 17")
    with pytest.raises(ProviderError, match="account") as caught:
        await gate.before_call(A)
    assert (caught.value.kind, caught.value.scope) == (ErrorKind.RATE_LIMITED, "account")
    assert await gate.before_call(B) == 0
    await gate.blocked(A.app, timedelta(seconds=900), "code 4")
    with pytest.raises(ProviderError) as caught:
        await gate.before_call(B)
    assert caught.value.retry_after is not None
    assert (caught.value.scope, caught.value.retry_after.total_seconds()) == ("app", about(900))
    await clocks.advance(901)
    assert await gate.before_call(A) == 0


async def test_a_shorter_pause_does_not_end_a_longer_one(gate: Gate, clocks: Clock) -> None:
    await gate.blocked(A.app, timedelta(seconds=600), "long")
    await gate.blocked(A.app, timedelta(seconds=10), "short")
    await clocks.advance(300)
    with pytest.raises(ProviderError, match="long"):
        await gate.before_call(A)


async def test_a_fuller_budget_slows_and_a_full_one_stops(gate: Gate, clocks: Clock) -> None:
    assert A.account is not None
    await gate.usage(A.account, 79, None)
    assert await gate.before_call(A) == 0
    await gate.usage(A.account, 90, None)
    assert await gate.before_call(A) == 0.5
    assert await gate.before_call(B) == 0
    await gate.usage(A.account, 100, timedelta(minutes=19))
    with pytest.raises(ProviderError) as caught:
        await gate.before_call(A)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == about(19 * 60)
    await clocks.advance(19 * 60 + 1)
    assert await gate.before_call(A) == 0  # no header repeated the slowdown either
    assert [slowdown(percent) for percent in (0, 80, 95, 100, 500)] == [0, 0, 0.75, 1, 1]


def test_each_pause_that_did_not_help_doubles_the_next(clock: Clock) -> None:
    strikes = Strikes()
    pauses: list[float] = []
    for _ in range(10):
        pauses.append(strikes.next_pause("a", None).total_seconds())
        for _ in range(3):  # calls that were under way when it began
            strikes.next_pause("a", None)
        clock.now += pauses[-1] * 1.25 + 1
    for number, pause in enumerate(pauses):
        least = min(60 * 2**number, 3600)
        assert least <= pause <= least * 1.25
    clock.now += 3 * 3600
    assert strikes.next_pause("a", None).total_seconds() <= 75


def test_what_the_provider_tells_counts_when_it_is_longer(clock: Clock) -> None:
    strikes = Strikes()
    assert strikes.next_pause("a", timedelta(hours=2)) == timedelta(hours=2)
    assert strikes.next_pause("b", timedelta(seconds=1)) >= timedelta(seconds=60)
    assert strikes.next_pause("c", timedelta(days=900)) == timedelta(days=1)


async def test_the_gate_remembers_a_bounded_number_of_scopes() -> None:
    gate = MemoryGate()
    for number in range(10_050):
        await gate.blocked(str(number), timedelta(hours=1), "x")
    assert len(gate._paused) == 10_000  # type: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "Sat, 21 Nov 2026 00:02:00 GMT", "Date": "Sat, 21 Nov 2026 00:00:00 GMT"}, 120),
        ({"Retry-After": "Sat, 21 Nov 2026 00:00:00 GMT", "Date": "Sat, 21 Nov 2026 00:02:00 GMT"}, None),
        ({"Retry-After": "9" * 5000}, 10**6),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(headers: dict[str, str], seconds: int | None) -> None:
    assert retry_after(headers) == (None if seconds is None else timedelta(seconds=seconds))


async def test_slots_are_handed_on_in_turn_and_never_lost() -> None:
    slots = Slots(2)
    assert slots.take()
    assert slots.take()
    assert not slots.take()
    order: list[int] = []

    async def work(number: int) -> None:
        assert await slots.wait(60)
        order.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(4)]
    gone = asyncio.create_task(slots.wait(60))
    assert not await slots.wait(0.01)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    for _ in range(4):
        slots.give_back()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]
    slots.give_back()
    slots.give_back()
    assert slots.take()
    assert slots.take()
    assert not slots.take()


async def test_a_slot_handed_to_a_task_that_is_cancelled_goes_back() -> None:
    slots = Slots(1)
    assert slots.take()
    waiting = asyncio.create_task(slots.wait(60))
    await asyncio.sleep(0)
    slots.give_back()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert slots.take()
