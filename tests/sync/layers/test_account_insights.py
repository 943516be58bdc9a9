from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.sync.layers.counting import counting
from tests.sync.layers.home import NOON, Home, slot
from tidemill.errors import InvalidInput
from tidemill.sync.layers import AccountObservation, DayViews, Written, write_account_insights

TODAY, TOMORROW = NOON.replace(hour=8), NOON.replace(hour=8) + timedelta(days=1)


async def write(home: Home, at: datetime, insights: AccountObservation, *, correct: bool = False) -> Written:
    async with home.conn.transaction():
        return await write_account_insights(home.conn, [home.snapshot_at(at, insights)], correct=correct)


async def test_the_first_snapshot_of_an_account_has_no_deltas(home: Home) -> None:
    assert await write(home, slot(0), AccountObservation(100, 7, 50, 900)) == Written(1, 0)
    assert await home.gauge_deltas() == {slot(0): (None, slot(0), None, None, None, None)}
    assert await home.current_gauges() == (100, 7, 50, 900, *[slot(0)] * 5)


async def test_a_gauge_that_was_not_told_collapses_nothing(home: Home) -> None:
    await write(home, slot(0), AccountObservation(100, 7, 50, 900))
    await write(home, slot(1), AccountObservation(None, 9, 45, None))
    await write(home, slot(2), AccountObservation(97, 1, 45, 950))

    assert await home.gauge_deltas() == {
        slot(0): (None, slot(0), None, None, None, None),
        slot(1): (slot(0), slot(1), None, None, -5, None),
        slot(2): (slot(1), slot(2), -3, None, 0, 50),
    }
    assert (await home.current_gauges())[:4] == (97, 1, 45, 950)


async def test_a_late_snapshot_of_an_account_changes_the_row_after_it(home: Home) -> None:
    await write(home, slot(0), AccountObservation(100))
    await write(home, slot(2), AccountObservation(120))
    assert await write(home, slot(1), AccountObservation(115)) == Written(1, 1)
    assert [d[2] for _, d in sorted((await home.gauge_deltas()).items())] == [None, 15, 5]


async def test_a_corrected_account_is_a_new_revision(home: Home) -> None:
    await write(home, slot(0), AccountObservation(100))
    await write(home, slot(1), AccountObservation(0))
    assert await write(home, slot(1), AccountObservation(None), correct=True) == Written(1, 1)
    assert await write(home, slot(1), AccountObservation(None), correct=True) == Written(0, 0)
    assert (await home.gauge_deltas())[slot(1)][2] is None
    assert (await home.current_gauges())[0] == 100


async def test_a_day_grows_with_later_slots_and_never_falls_back_to_earlier_ones(home: Home) -> None:
    await write(home, slot(1), AccountObservation(views_by_day=[DayViews(TODAY, 10), DayViews(TOMORROW, 1)]))
    await write(home, slot(3), AccountObservation(views_by_day=[DayViews(TOMORROW, 6)]))
    await write(home, slot(2), AccountObservation(views_by_day=[DayViews(TODAY, 11), DayViews(TOMORROW, 4)]))
    await write(home, slot(3), AccountObservation(views_by_day=[DayViews(TOMORROW, 5)]))
    assert await home.days() == {TODAY: (slot(2), 11), TOMORROW: (slot(3), 6)}
    await write(home, slot(3), AccountObservation(views_by_day=[DayViews(TOMORROW, 5)]), correct=True)
    assert await home.days() == {TODAY: (slot(2), 11), TOMORROW: (slot(3), 5)}


async def test_demographics_are_kept_as_told(home: Home) -> None:
    told = {"country": {"TW": 3}, "age": None}
    await write(home, slot(0), AccountObservation(demographics=told))
    await write(home, slot(1), AccountObservation())
    rows = await home.conn.fetch(
        "select demographics from workspace_threads_account_insights where workspace_id = $1 order by sync_batch_at",
        home.workspace,
    )
    assert [r[0] for r in rows] == [told, None]


async def test_an_account_that_is_gone_is_counted_as_unknown(home: Home) -> None:
    home.account = uuid4()
    assert await write(home, slot(0), AccountObservation(1, views_by_day=[DayViews(TODAY, 1)])) == Written(0, 0, 1)


@pytest.mark.parametrize(
    "insights",
    [
        AccountObservation(2**62),
        AccountObservation(views_by_day=[DayViews(TODAY, 1), DayViews(TODAY, 1)]),
        AccountObservation(views_by_day=[DayViews(datetime(2026, 11, 10), 1)]),
        AccountObservation(views_by_day=[DayViews(TODAY, -(2**62))]),
    ],
)
async def test_insights_that_cannot_be_meant_are_refused(home: Home, insights: AccountObservation) -> None:
    with pytest.raises(InvalidInput):
        await write(home, slot(0), insights)
    assert await home.gauges() == {}


async def test_an_account_takes_one_statement_or_two_when_late(home: Home) -> None:
    await write(home, slot(0), AccountObservation(1))
    told: list[int] = []
    for at, correct in ((3, False), (2, False), (2, True)):
        with counting(home.conn) as queries:
            await write(home, slot(at), AccountObservation(at + correct), correct=correct)
        told.append(len(queries))
    assert told == [1, 2, 3]
