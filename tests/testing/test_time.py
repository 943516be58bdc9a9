"""Time as a test orders it: jumps that forget, hours that pass, schedules that fire when they are ticked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tidemill import InvalidInput
from tidemill.testing import Harness

from .shop import Parcel, app, noted, report, send

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    noted.clear()


def berlin(month: int, day: int, hour: int, minute: int = 0, *, fold: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN, fold=fold)


async def test_a_schedule_in_a_gap_fires_once_at_the_first_valid_instant_after_it(tm: Harness) -> None:
    await tm.travel(to=berlin(3, 28, 12))
    assert await tm.tick() == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # 02:30 is not; the gap ends at 03:00
    await tm.advance(to=datetime(2026, 3, 29, 0, 59, tzinfo=UTC))
    await tm.tick()
    await tm.refute_enqueued(report)
    await tm.advance(timedelta(minutes=1))
    assert await tm.tick() == berlin(3, 30, 2, 30)
    [job] = await tm.assert_enqueued(report, times=1)
    assert job.args["fire_at"] == "2026-03-29T01:00:00+00:00"


async def test_a_schedule_in_a_fold_fires_at_the_first_occurrence_alone(tm: Harness) -> None:
    await tm.travel(to=berlin(10, 24, 12))
    await tm.advance(to=berlin(10, 25, 2, 30))
    assert await tm.tick() == berlin(10, 26, 2, 30)
    await tm.advance(to=berlin(10, 25, 2, 45, fold=1))
    await tm.tick()
    await tm.assert_enqueued(report, times=1)


async def test_what_was_missed_while_time_passed_is_made_up_for_once_and_a_jump_misses_nothing(tm: Harness) -> None:
    await tm.travel(to=berlin(5, 1, 12))
    await tm.advance(5 * DAY)
    await tm.tick()
    await tm.assert_enqueued(report, times=1)
    await tm.drain()

    await tm.travel(to=berlin(6, 1, 12))
    assert await tm.tick() == berlin(6, 2, 2, 30)
    await tm.refute_enqueued(report)


async def test_the_same_day_can_be_lived_again(tm: Harness) -> None:
    for _ in range(2):
        await tm.travel(to=berlin(5, 1, 12))
        await tm.advance(DAY)
        await tm.tick()
        assert (await tm.drain()).counts == {"done": 1}
    assert noted == ["report", "report"]


async def test_a_week_lived_day_by_day_has_seven_reports(tm: Harness) -> None:
    await tm.travel(to=berlin(5, 1, 12))
    for _ in range(7):
        await tm.advance(DAY)
        await tm.tick()
        await tm.drain()
    assert noted == ["report"] * 7


async def test_delayed_jobs_come_due_as_time_passes_and_keep_their_instant_over_a_jump(tm: Harness) -> None:
    await tm.travel(to=berlin(5, 1, 12))
    await app.enqueue(send, Parcel(1), delay=timedelta(hours=2))
    await tm.advance(timedelta(minutes=119))
    assert (await tm.drain()).attempts == []
    await tm.advance(timedelta(minutes=1))
    assert (await tm.drain()).counts == {"done": 1}

    await app.enqueue(send, Parcel(2), at=berlin(7, 1, 12))
    await tm.travel(to=berlin(6, 1, 12))
    assert (await tm.drain()).attempts == []
    await tm.travel(to=berlin(8, 1, 12))
    assert (await tm.drain()).counts == {"done": 1}


async def test_a_paused_schedule_stays_paused_over_a_jump(tm: Harness) -> None:
    await app.rooms.schedules.pause("daily", "a test")
    await tm.travel(to=berlin(5, 1, 12))
    await tm.advance(DAY)
    await tm.tick()
    await tm.refute_enqueued(report)
    await app.rooms.schedules.resume("daily")
    await tm.tick()
    await tm.assert_enqueued(report, times=1)


async def test_time_does_not_go_back_but_by_travelling(tm: Harness) -> None:
    await tm.travel(to=berlin(5, 1, 12))
    with pytest.raises(InvalidInput, match=r"^by: .* use travel to go back"):
        await tm.advance(-DAY)
    with pytest.raises(InvalidInput, match=r"^to: .* use travel to go back"):
        await tm.advance(to=berlin(4, 30, 12))
    with pytest.raises(InvalidInput, match="time zone"):
        await tm.advance(to=datetime(2026, 5, 2))
    with pytest.raises(InvalidInput, match="time zone"):
        await tm.travel(to=datetime(2026, 5, 2))
    with pytest.raises(InvalidInput, match="either by or to"):
        await tm.advance()
    assert timedelta(0) <= await tm.now() - berlin(5, 1, 12) < timedelta(hours=1)
