"""Cron: what is read, what is refused, and the days on which clocks are moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tidemill.engine.recurrence import Cron
from tidemill.errors import InvalidInput


def _local(text: str, zone: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def _fires(cron: Cron, after: datetime, count: int) -> list[str]:
    """The next fires as local time with offset, to be read next to the rule."""
    fires: list[str] = []
    for _ in range(count):
        after = cron.next(after)
        fires.append(after.astimezone(cron.zone).isoformat(timespec="minutes"))
    return fires


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("* * * * *", "2024-01-01T00:00", "2024-01-01T00:01"),
        ("*/15 * * * *", "2024-01-01T00:00", "2024-01-01T00:15"),
        ("*/15 * * * *", "2024-01-01T23:59:59.999999", "2024-01-02T00:00"),
        ("0 9-17/4 * * MON-FRI", "2024-01-05T17:00", "2024-01-08T09:00"),
        ("5,10 3 1 JAN,jul *", "2024-01-01T03:10", "2024-07-01T03:05"),
        ("0 0 29 2 *", "2024-02-29T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 *", "2096-02-29T00:00", "2104-02-29T00:00"),
        ("0 0 31 * *", "2024-01-31T00:00", "2024-03-31T00:00"),
        ("0 0 13 * 5", "2024-09-12T00:00", "2024-09-13T00:00"),
        ("0 0 13 * 5", "2024-09-13T00:00", "2024-09-20T00:00"),
        ("0 0 30 2 1", "2024-02-01T00:00", "2024-02-05T00:00"),
        ("0 0 */10 * 1", "2024-01-01T00:00", "2024-01-08T00:00"),
        ("0 0 * * 7", "2024-01-01T00:00", "2024-01-07T00:00"),
        ("0 0 * * 5-7", "2024-01-06T00:00", "2024-01-07T00:00"),
        ("0 0 * * FRI-SUN", "2024-01-06T00:00", "2024-01-07T00:00"),
        ("0 0 * * */2", "2024-01-02T00:00", "2024-01-04T00:00"),
        ("0 0 L * *", "2024-02-01T00:00", "2024-02-29T00:00"),
        ("0 0 L 2 *", "2024-03-01T00:00", "2025-02-28T00:00"),
        ("0 0 15,L * *", "2024-04-15T00:00", "2024-04-30T00:00"),
        ("0 0 * * 5L", "2024-05-01T00:00", "2024-05-31T00:00"),
        ("0 0 * * friL,mon#1", "2024-05-31T00:00", "2024-06-03T00:00"),
        ("0 0 * * 7#1", "2024-05-31T00:00", "2024-06-02T00:00"),
        ("0 0 * 2 mon#5", "2025-01-01T00:00", "2044-02-29T00:00"),
        ("0 0 L * mon#2", "2024-06-01T00:00", "2024-06-10T00:00"),
        ("0 0 L * mon#2", "2024-06-10T00:00", "2024-06-30T00:00"),
        ("* * * * * *", "2024-01-01T00:00:00.5", "2024-01-01T00:00:01"),
        ("*/20 59 23 31 12 *", "2024-12-31T23:59:40", "2025-12-31T23:59:00"),
        ("15,45 */30 * * * *", "2024-01-01T00:00:45", "2024-01-01T00:30:15"),
        ("@midnight", "2024-01-01T00:30", "2024-01-02T00:00"),
        ("@annually", "2024-01-01T00:30", "2025-01-01T00:00"),
        ("@hourly", "2024-01-01T00:30", "2024-01-01T01:00"),
        ("@daily", "2024-01-01T00:30", "2024-01-02T00:00"),
        ("@weekly", "2024-01-01T00:30", "2024-01-07T00:00"),
        ("@monthly", "2024-01-01T00:30", "2024-02-01T00:00"),
        (" @YEARLY ", "2024-01-01T00:30", "2025-01-01T00:00"),
    ],
)
def test_the_next_fire_is_strictly_after_the_instant(expression: str, after: str, expected: str) -> None:
    fire = Cron.parse(expression).next(_local(after, "UTC"))
    assert fire == _local(expected, "UTC")
    assert fire.tzinfo is UTC


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("", "cron"),
        ("* * * *", "cron"),
        ("0 0 * * * * *", "cron"),
        ("60 * * * * *", "second"),
        ("5/10 * * * * *", "second"),
        ("@reboot", "cron"),
        ("@every 5m", "cron"),
        ("@noon", "cron"),
        ("*," * 5_000 + "* * * * *", "cron"),
        ("60 * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("5/10 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*/90 * * * *", "minute"),
        ("*/ * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("1.5 * * * *", "minute"),
        ("H * * * *", "minute"),
        ("١ * * * *", "minute"),
        ("1\0 * * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 22-2 * * *", "hour"),
        ("0 1-2-3 * * *", "hour"),
        ("0 0 0 * *", "day of month"),
        ("0 0 L-3 * *", "day of month"),
        ("0 0 LW * *", "day of month"),
        ("0 0 1,,L * *", "day of month"),
        ("0 0 15W * *", "day of month"),
        ("0 0 ? * *", "day of month"),
        ("0 0 30 2 *", "day of month"),
        ("0 0 31 2,4,6,9,11 *", "day of month"),
        ("0 0 1 13 *", "month"),
        ("0 0 1 january *", "month"),
        ("0 0 * * 8", "day of week"),
        ("0 0 * * 5#6", "day of week"),
        ("0 0 * * 5#0", "day of week"),
        ("0 0 * * #2", "day of week"),
        ("0 0 * * mon-fri#2", "day of week"),
        ("0 0 * * L", "day of week"),
        ("0 0 * * 8L", "day of week"),
        ("0 0 * * mon-friL", "day of week"),
        ("0 L * * *", "hour"),
        ("0 0 * * sat-mon", "day of week"),
    ],
)
def test_what_is_not_supported_is_refused_by_the_name_of_its_field(expression: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Cron.parse(expression)
    assert refused.value.field == field
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "America", "/etc/localtime", "../UTC", "UTC\0", "Z" * 10_000])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Cron.parse("* * * * *", zone)
    assert refused.value.field == "timezone"


def test_an_instant_without_a_zone_is_refused() -> None:
    cron = Cron.parse("* * * * *")
    with pytest.raises(InvalidInput, match=r"after: .* has no time zone"):
        cron.next(datetime(2024, 1, 1))
    with pytest.raises(InvalidInput, match=r"at: .* has no time zone"):
        cron.slot(datetime(2024, 1, 1))


@pytest.mark.parametrize("expression", ["0 0 1 1 *", "0 * 1 1 *"])
def test_the_end_of_the_calendar_is_an_error_not_a_loop(expression: str) -> None:
    with pytest.raises(InvalidInput, match="year 9999"):
        Cron.parse(expression).next(datetime(9999, 6, 1, tzinfo=UTC))
    with pytest.raises(InvalidInput, match="no fire before"):
        Cron.parse("0 0 1 7 *").slot(datetime(1, 3, 1, tzinfo=UTC))


def test_a_schedule_by_the_hour_runs_on_elapsed_time_through_a_repeated_hour() -> None:
    hourly = Cron.parse("30 * * * *", "America/New_York")
    assert _fires(hourly, _local("2024-11-03T00:30", "America/New_York"), 4) == [
        "2024-11-03T01:30-04:00",
        "2024-11-03T01:30-05:00",
        "2024-11-03T02:30-05:00",
        "2024-11-03T03:30-05:00",
    ]


def test_a_skipped_hour_adds_nothing_to_a_schedule_by_the_hour() -> None:
    quarters = Cron.parse("*/20 */1 * * *", "America/New_York")
    assert _fires(quarters, _local("2024-03-10T01:20", "America/New_York"), 3) == [
        "2024-03-10T01:40-05:00",
        "2024-03-10T03:00-04:00",
        "2024-03-10T03:20-04:00",
    ]
    even = Cron.parse("0 */2 * * *", "America/New_York")
    assert _fires(even, _local("2024-03-10T00:00", "America/New_York"), 2) == [
        "2024-03-10T04:00-04:00",
        "2024-03-10T06:00-04:00",
    ]


def test_a_daily_time_that_is_skipped_fires_once_at_the_first_instant_after_the_gap() -> None:
    daily = Cron.parse("15,45 2 * * *", "America/New_York")
    assert _fires(daily, _local("2024-03-09T02:45", "America/New_York"), 3) == [
        "2024-03-10T03:00-04:00",
        "2024-03-11T02:15-04:00",
        "2024-03-11T02:45-04:00",
    ]


def test_a_daily_time_that_repeats_fires_at_its_first_occurrence_only() -> None:
    daily = Cron.parse("30 1 * * *", "America/New_York")
    assert _fires(daily, _local("2024-11-02T01:30", "America/New_York"), 2) == [
        "2024-11-03T01:30-04:00",
        "2024-11-04T01:30-05:00",
    ]
    between = _local("2024-11-03T01:10", "America/New_York", fold=1)
    assert _fires(daily, between, 1) == ["2024-11-04T01:30-05:00"]


def test_midnight_that_does_not_exist_is_one_oclock_in_santiago() -> None:
    daily = Cron.parse("@daily", "America/Santiago")
    assert _fires(daily, _local("2024-09-07T00:00", "America/Santiago"), 2) == [
        "2024-09-08T01:00-03:00",
        "2024-09-09T00:00-03:00",
    ]


def test_the_day_that_apia_skipped_comes_at_the_midnight_after_it() -> None:
    daily = Cron.parse("0 9 * * *", "Pacific/Apia")
    assert _fires(daily, _local("2011-12-29T09:00", "Pacific/Apia"), 2) == [
        "2011-12-31T00:00+14:00",
        "2011-12-31T09:00+14:00",
    ]
    hourly = Cron.parse("0 * * * *", "Pacific/Apia")
    assert _fires(hourly, _local("2011-12-29T23:00", "Pacific/Apia"), 1) == ["2011-12-31T00:00+14:00"]


def test_a_gap_that_ends_between_two_minutes_fires_at_its_very_end() -> None:
    # Monrovia left an offset of 44 minutes and 30 seconds at midnight of 7 January 1972.
    daily = Cron.parse("10 0 * * *", "Africa/Monrovia")
    fire = daily.next(_local("1972-01-06T12:00", "Africa/Monrovia"))
    assert fire == datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)


def test_the_slot_of_an_instant_is_the_last_fire_at_or_before_it() -> None:
    cron = Cron.parse("*/15 * * * *", "Asia/Taipei")
    at = _local("2026-05-04T10:15", "Asia/Taipei")
    assert cron.slot(at) == at
    assert cron.slot(at + timedelta(minutes=14, seconds=59)) == at
    assert cron.slot(at - timedelta(microseconds=1)) == at - timedelta(minutes=15)
    assert Cron.parse("0 0 29 2 *").slot(_local("2103-07-01T00:00", "UTC")) == _local("2096-02-29T00:00", "UTC")
    assert Cron.parse("* 3 * * *").slot(_local("2026-05-04T12:00", "UTC")) == _local("2026-05-04T03:59", "UTC")


def test_the_slots_of_a_day_partition_it() -> None:
    cron = Cron.parse("7-59/13 0-22/3 * * *", "Europe/London")
    fires = [datetime(2024, 10, 26, tzinfo=UTC)]
    while fires[-1] < datetime(2024, 10, 29, tzinfo=UTC):
        fires.append(cron.next(fires[-1]))
    for slot, following in pairwise(fires[1:]):
        for at in (slot, slot + (following - slot) / 3, following - timedelta(microseconds=1)):
            assert cron.slot(at) == slot
