"""Schedules as JSON has them: what is read, what is refused, and what they say in words."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from tidemill.engine.recurrence import recurrence
from tidemill.engine.recurrence.rule import Rule
from tidemill.errors import InvalidInput

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def _fires(spec: dict[str, Any], after: datetime = NOON, count: int = 3) -> list[str]:
    plan = recurrence(spec)
    fires: list[str] = []
    at: datetime | None = after
    while len(fires) < count and (at := plan.next(at)) is not None:
        fires.append(at.astimezone(plan.zone).isoformat(timespec="seconds"))
    return fires


@pytest.mark.parametrize(
    ("spec", "words", "fires"),
    [
        ({}, "only when it is run by hand", []),
        ({"every": "1h30m"}, "every 1 hour 30 minutes", ["2026-05-04T13:30:00+00:00", "2026-05-04T15:00:00+00:00"]),
        ({"every": "1d"}, "every 1 day", ["2026-05-05T00:00:00+00:00", "2026-05-06T00:00:00+00:00"]),
        (
            {"every": "90s", "anchor": "2026-05-04T14:00:10+02:00"},
            "every 1 minute 30 seconds, counted from 2026-05-04 12:00:10 UTC",
            ["2026-05-04T12:00:10+00:00", "2026-05-04T12:01:40+00:00"],
        ),
        (
            {"at": "2026-05-04T21:00:00", "timezone": "Asia/Taipei"},
            "once, at 2026-05-04 13:00:00 UTC",
            ["2026-05-04T21:00:00+08:00"],
        ),
        ({"at": "2026-05-04T12:00:00Z"}, "once, at 2026-05-04 12:00:00 UTC", []),
        (
            {"cron": "0 9 * * mon-fri", "timezone": "Europe/Berlin", "until": "2026-05-06T09:00"},
            "at 09:00 on Monday to Friday, Europe/Berlin time, until 2026-05-06 07:00:00 UTC",
            ["2026-05-05T09:00:00+02:00", "2026-05-06T09:00:00+02:00"],
        ),
        (
            {"cron": "@hourly", "from": "2026-06-01T00:00Z", "until": "2026-06-01T01:00Z"},
            "every hour, UTC time, from 2026-06-01 00:00:00 UTC, until 2026-06-01 01:00:00 UTC",
            ["2026-06-01T00:00:00+00:00", "2026-06-01T01:00:00+00:00"],
        ),
        (
            {"rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", "start": "2026-05-04T09:30", "timezone": "Europe/London"},
            "every 2 weeks on Monday and Friday at 09:30, Europe/London time",
            ["2026-05-08T09:30:00+01:00", "2026-05-18T09:30:00+01:00"],
        ),
        (
            {"rrule": "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYHOUR=17"},
            "every month on the last of Monday to Friday at 17:00, UTC time",
            ["2026-05-29T17:00:00+00:00", "2026-06-30T17:00:00+00:00"],
        ),
        (
            {"rrule": "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13"},
            "every month on the 13th, if it is Friday at 00:00, UTC time",
            ["2026-11-13T00:00:00+00:00", "2027-08-13T00:00:00+00:00"],
        ),
        (
            {"rrule": "FREQ=DAILY;COUNT=2", "start": "2026-05-04T12:30"},
            "every day at 12:30, 2 times, UTC time",
            ["2026-05-04T12:30:00+00:00", "2026-05-05T12:30:00+00:00"],
        ),
        (
            {"rrule": "FREQ=DAILY;UNTIL=20260505T000000Z"},
            "every day at 00:00, until 2026-05-05 00:00:00 UTC, UTC time",
            ["2026-05-05T00:00:00+00:00"],
        ),
        (
            {"rrule": "FREQ=HOURLY;INTERVAL=6;BYMINUTE=15"},
            "every 6 hours at minute 15, UTC time",
            ["2026-05-04T12:15:00+00:00", "2026-05-04T18:15:00+00:00"],
        ),
    ],
)
def test_a_schedule_says_when_it_fires_and_does(spec: dict[str, Any], words: str, fires: list[str]) -> None:
    assert recurrence(spec).words() == words
    assert _fires(spec, count=2) == fires


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("* * * * * *", "every second"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0 */2 * * *", "every 2 hours"),
        ("30 * * * *", "at minute 30 of every hour"),
        ("*/20 */2 * * *", "every 20 minutes in every 2nd hour"),
        ("*/10 9-17 * * *", "every 10 minutes in hours 9 to 17"),
        ("0 9,18 * * *", "at 09:00 and 18:00 every day"),
        ("30 0 9 * * *", "at 09:00:30 every day"),
        ("0 9 1,15,L * *", "at 09:00 on the 1st, the 15th and the last day"),
        ("0 0 13 * 5", "at 00:00 on the 13th or Friday"),
        ("0 12 * jan-mar mon#2,friL", "at 12:00 on the 2nd Monday and the last Friday in January to March"),
        ("@weekly", "at 00:00 on Sunday"),
    ],
)  # fmt: skip
def test_a_cron_expression_reads_as_english(expression: str, words: str) -> None:
    assert recurrence({"cron": expression}).words() == f"{words}, UTC time"


def test_the_default_zone_is_the_owners_and_a_zone_of_its_own_comes_first() -> None:
    assert recurrence({"cron": "0 9 * * *"}, "Asia/Taipei").next(NOON) == datetime(2026, 5, 5, 1, tzinfo=UTC)
    own = {"cron": "0 9 * * *", "timezone": "UTC"}
    assert recurrence(own, "Asia/Taipei").next(NOON) == datetime(2026, 5, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (["0 0 * * *"], "schedule"),
        ("0 0 * * *", "schedule"),
        (None, "schedule"),
        ({"cron": "0 0 * * *", "every": "1h"}, "every"),
        ({"cron": 5}, "cron"),
        ({"type": "cron"}, "type"),
        ({"cron": "0 0 * * *", "tz": "UTC"}, "tz"),
        ({"cron": "0 0 * * *", "timezone": "Mars"}, "timezone"),
        ({"cron": "0 0 * * *", "timezone": None}, "timezone"),
        ({"cron": "0 0 * * *", "timezone": ["UTC"]}, "timezone"),
        ({"cron": "0 0 * * *", "anchor": "2026-05-04T09:00Z"}, "anchor"),
        ({"every": "1h", "start": "2026-05-04T09:00Z"}, "start"),
        ({"every": "1h", "anchor": "noon"}, "anchor"),
        ({"every": ""}, "every"),
        ({"every": "0s"}, "every"),
        ({"every": "15"}, "every"),
        ({"every": "30m1h"}, "every"),
        ({"every": "1.5h"}, "every"),
        ({"every": "-1h"}, "every"),
        ({"every": "1h 30m"}, "every"),
        ({"every": "٣h"}, "every"),
        ({"every": "999999d"}, "every"),
        ({"every": 900}, "every"),
        ({"at": "tomorrow"}, "at"),
        ({"at": "2026-05-04"}, "at"),
        ({"at": 1777888800}, "at"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "at"),
        ({"every": "1h", "from": "x"}, "from"),
        ({"every": "1h", "from": "2026-05-04T09:00Z", "until": "2026-05-04T08:00Z"}, "until"),
        ({"every": "1h", "jitter": "soon"}, "jitter"),
        ({"every": "1h", "jitter": "2d"}, "jitter"),
        ({"every": "1h", "misfire": "all"}, "misfire"),
        ({"every": "1h", "misfire": {"all": 0}}, "misfire"),
        ({"every": "1h", "misfire": {"all": True}}, "misfire"),
        ({"every": "1h", "misfire": {"all": 101}, "overlap": "allow"}, "misfire"),
        ({"every": "1h", "misfire": {"all": 3, "most": 4}}, "misfire"),
        ({"every": "1h", "misfire": {"all": 3}}, "misfire"),
        ({"every": "1h", "misfire": {"all": 3}, "overlap": "replace"}, "misfire"),
        ({"every": "1h", "overlap": "wait"}, "overlap"),
        ({"every": "1h", "overlap": ["skip"]}, "overlap"),
        ({"rrule": 5}, "rrule"),
        ({"rrule": ""}, "rrule"),
        ({"rrule": "FREQ=DAILY;" + "X" * 500}, "rrule"),
        ({"rrule": "FREQ=DAILY;X-NAME=1"}, "rrule"),
        ({"rrule": "FREQ=DAILY;BYEASTER=0"}, "rrule"),
        ({"rrule": "FREQ=DAILY\nFREQ=WEEKLY"}, "rrule"),
        ({"rrule": "DTSTART:20260504T090000Z\nRRULE:FREQ=DAILY"}, "rrule"),
        ({"rrule": "INTERVAL=2"}, "FREQ"),
        ({"rrule": "FREQ=SECONDLY"}, "FREQ"),
        ({"rrule": "FREQ=DAILY;FREQ=DAILY"}, "FREQ"),
        ({"rrule": "FREQ=DAILY;INTERVAL=0"}, "INTERVAL"),
        ({"rrule": "FREQ=DAILY;INTERVAL=1001"}, "INTERVAL"),
        ({"rrule": "FREQ=DAILY;INTERVAL=x"}, "INTERVAL"),
        ({"rrule": "FREQ=DAILY;COUNT=3"}, "COUNT"),
        ({"rrule": "FREQ=DAILY;COUNT=0", "start": "2026-05-04T09:00"}, "COUNT"),
        ({"rrule": "FREQ=DAILY;COUNT=3;UNTIL=20260504T090000Z"}, "UNTIL"),
        ({"rrule": "FREQ=DAILY;UNTIL=20260504"}, "UNTIL"),
        ({"rrule": "FREQ=DAILY;UNTIL=20261304T090000Z"}, "UNTIL"),
        ({"rrule": "FREQ=DAILY;UNTIL=20260504T090000Z", "start": "2026-05-05T09:00"}, "rrule"),
        ({"rrule": "FREQ=DAILY;BYHOUR=24"}, "BYHOUR"),
        ({"rrule": "FREQ=DAILY;BYSECOND=60"}, "BYSECOND"),
        ({"rrule": "FREQ=DAILY;BYMONTHDAY=0"}, "BYMONTHDAY"),
        ({"rrule": "FREQ=DAILY;BYMONTHDAY="}, "BYMONTHDAY"),
        ({"rrule": "FREQ=WEEKLY;BYMONTHDAY=1"}, "BYMONTHDAY"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=2MO"}, "BYDAY"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=0MO"}, "BYDAY"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=MONDAY"}, "BYDAY"),
        ({"rrule": "FREQ=YEARLY;BYWEEKNO=1"}, "BYDAY"),
        ({"rrule": "FREQ=MONTHLY;BYWEEKNO=1;BYDAY=MO"}, "BYWEEKNO"),
        ({"rrule": "FREQ=DAILY;BYYEARDAY=1"}, "BYYEARDAY"),
        ({"rrule": "FREQ=DAILY;BYSETPOS=1"}, "BYSETPOS"),
        ({"rrule": "FREQ=HOURLY;BYMINUTE=1,2;BYSETPOS=1"}, "BYSETPOS"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=MO;WKST=MON"}, "WKST"),
        ({"rrule": "FREQ=WEEKLY"}, "rrule"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=3"}, "rrule"),
        ({"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "rrule"),
        ({"rrule": "FREQ=MINUTELY;INTERVAL=60;BYMINUTE=5"}, "rrule"),
        ({"rrule": "FREQ=YEARLY;INTERVAL=1000;BYMONTH=2;BYMONTHDAY=29", "start": "2026-01-01T09:00"}, "rrule"),
        ({"rrule": "FREQ=DAILY", "start": "9999-12-31T23:59:59", "timezone": "America/New_York"}, "start"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_schedule_is_refused_by_the_name_of_what_is_wrong(spec: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        recurrence(spec)
    assert refused.value.field == field
    assert len(str(refused.value)) < 300


def test_count_counts_fires_also_through_an_hour_that_repeats() -> None:
    spec = {"rrule": "FREQ=HOURLY;COUNT=4", "start": "2024-11-03T00:30", "timezone": "America/New_York"}
    assert _fires(spec, datetime(2024, 1, 1, tzinfo=UTC), 9) == [
        "2024-11-03T00:30:00-04:00",
        "2024-11-03T01:30:00-04:00",
        "2024-11-03T01:30:00-05:00",
        "2024-11-03T02:30:00-05:00",
    ]


def test_count_counts_no_further_than_a_century() -> None:
    plan = recurrence({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;COUNT=1000", "start": "2024-01-01T09:00"})
    assert plan.next(datetime(2119, 1, 1, tzinfo=UTC)) == datetime(2120, 2, 29, 9, tzinfo=UTC)
    assert plan.next(datetime(2125, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("rule", ["FREQ=MINUTELY;INTERVAL=60;BYMINUTE=5", "FREQ=HOURLY;INTERVAL=24;BYHOUR=7"])
def test_a_day_that_is_out_of_step_costs_no_look_at_its_hours(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[date] = []
    time_of = Rule._time

    def noted(self: Rule, day: date, wanted: time) -> datetime | None:
        looked.append(day)
        return time_of(self, day, wanted)

    monkeypatch.setattr(Rule, "_time", noted)
    with pytest.raises(InvalidInput, match="never comes"):
        recurrence({"rrule": rule})
    assert looked == []
    assert recurrence({"rrule": "FREQ=HOURLY;INTERVAL=25;BYHOUR=7"}).next(NOON) == datetime(2026, 5, 9, 7, tzinfo=UTC)
    assert len(looked) < 6  # of the reading, and of the one day in 25 that has its hour


def test_from_and_until_are_inclusive_and_bound_the_slot_too() -> None:
    plan = recurrence({"every": "1h", "from": "2026-05-04T12:00Z", "until": "2026-05-04T14:00Z"})
    assert plan.next(NOON - TICK) == NOON
    assert plan.slot(NOON - TICK) is None
    assert plan.slot(NOON) == NOON
    assert plan.next(NOON + HOUR) == NOON + 2 * HOUR
    assert plan.next(NOON + 2 * HOUR) is None
    assert plan.slot(NOON + 9 * HOUR) == NOON + 2 * HOUR


@pytest.mark.parametrize(
    "spec", [{}, {"every": "1h"}, {"at": "2026-05-04T09:00Z"}, {"rrule": "FREQ=DAILY"}, {"cron": "0 0 * * *"}], ids=str
)
def test_an_instant_without_a_zone_is_refused(spec: dict[str, str]) -> None:
    plan = recurrence(spec)
    with pytest.raises(InvalidInput, match="has no time zone"):
        plan.next(datetime(2026, 5, 4))
    with pytest.raises(InvalidInput, match="has no time zone"):
        plan.slot(datetime(2026, 5, 4))


def test_a_slot_before_the_first_fire_or_the_calendar_is_none() -> None:
    rule = recurrence({"rrule": "FREQ=DAILY;COUNT=2", "start": "2026-05-04T09:00"})
    assert rule.slot(datetime(2026, 5, 4, 8, tzinfo=UTC)) is None
    assert rule.slot(datetime(2030, 1, 1, tzinfo=UTC)) == datetime(2026, 5, 5, 9, tzinfo=UTC)
    assert recurrence({"every": "1d"}).next(datetime(9999, 12, 31, 12, tzinfo=UTC)) is None
    assert recurrence({"rrule": "FREQ=DAILY"}).next(datetime(9999, 12, 31, 12, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("misfire", "late", "expected"),
    [
        ("latest", timedelta(0), [3]),
        ("latest", HOUR / 2, [3]),
        ("skip", timedelta(seconds=60), [3]),
        ("skip", timedelta(seconds=61), []),
        ({"all": 2}, HOUR / 2, [2, 3]),
        ({"all": 10}, HOUR / 2, [0, 1, 2, 3]),
    ],
)
def test_missed_fires_are_made_up_for_as_the_misfire_rule_says(
    misfire: Any, late: timedelta, expected: list[int]
) -> None:
    plan = recurrence({"every": "1h", "misfire": misfire, "overlap": "allow"})
    assert plan.due(NOON, NOON + 3 * HOUR + late) == ([NOON + n * HOUR for n in expected], NOON + 4 * HOUR)


@pytest.mark.parametrize("misfire", ["latest", "skip", {"all": 3}, {"all": 100}])
@pytest.mark.parametrize("missed", [0, 1, 30, 31, 32, 33, 500])
def test_few_missed_fires_and_many_are_made_up_for_alike(missed: int, misfire: Any) -> None:
    plan = recurrence({"cron": "0 * * * *", "misfire": misfire, "overlap": "allow"})
    made_up, following = plan.due(NOON, NOON + missed * HOUR + HOUR / 30)
    all_of_them = [NOON + n * HOUR for n in range(missed + 1)]
    assert made_up == all_of_them[max(0, missed + 1 - plan.misfires) :]
    assert following == NOON + (missed + 1) * HOUR


def test_a_fire_planned_by_rules_of_a_zone_that_have_changed_since_is_due_all_the_same() -> None:
    plan = recurrence({"cron": "0 * * * *"})
    assert plan.due(NOON + HOUR / 2, NOON + HOUR / 2) == ([NOON + HOUR / 2], NOON + HOUR)
    assert plan.due(NOON + HOUR / 2, NOON + 100.1 * HOUR) == ([NOON + 100 * HOUR], NOON + 101 * HOUR)


def test_jitter_is_the_same_for_everybody_and_spreads_schedules_over_its_length() -> None:
    plan, same = (recurrence({"every": "1h", "jitter": "10m"}) for _ in range(2))
    delays = [plan.start(f"s{n}", NOON) - NOON for n in range(200)]
    assert delays == [same.start(f"s{n}", NOON) - NOON for n in range(200)]
    assert all(timedelta(0) <= delay < timedelta(minutes=10) for delay in delays)
    assert {int(delay / timedelta(minutes=1)) for delay in delays} == set(range(10))
    assert plan.start("s1", NOON) - NOON != plan.start("s1", NOON + HOUR) - NOON - HOUR
