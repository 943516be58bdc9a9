"""Recurrences against oracles: every minute and second about a change of clocks, and another reading of RFC 5545."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tidemill.engine.recurrence import Cron, Recurrence, recurrence
from tidemill.errors import InvalidInput

from .test_cron_oracle import ODD_ZONES, STAR, ZONES, Expression, Field, changes, oracle, window

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
YEARS = range(2000, 2030)
SAMPLE = 30


def _stars(size: int) -> Field:
    return Field("*", frozenset(range(size)))


def _steps(step: int, size: int) -> Field:
    return Field(f"*/{step}", frozenset(range(0, size, step)))


def _some(*values: int) -> Field:
    return Field(",".join(map(str, values)), frozenset(values))


BY_MINUTE = (
    Expression(_some(30), _some(0, 1, 2, 3), **STAR),
    Expression(_some(0), _some(0), **STAR),
    Expression(_steps(20, 60), _stars(24), **STAR),
    Expression(_steps(15, 60), _steps(3, 24), **STAR),
)
BY_SECOND = (
    Expression(_stars(60), _stars(24), **STAR, second=_steps(15, 60)),
    Expression(_some(0, 30, 59), _some(0, 1, 2, 3, 23), **STAR, second=_some(5, 59)),
)


def _following(what: Recurrence, start: datetime, end: datetime) -> list[datetime]:
    """The fires from ``start`` to before ``end``."""
    fires: list[datetime] = []
    at = start - timedelta(microseconds=1)
    while (fire := what.next(at)) is not None and fire < end:
        fires.append(fire)
        at = fire
    return fires


def _moved(zones: list[str]) -> list[tuple[str, datetime]]:
    return [(zone, at) for zone in zones for year in YEARS for at in changes(zone, year) if at.year == year]


def _distinct(cases: list[tuple[str, datetime]]) -> list[tuple[str, datetime]]:
    """One of those whose clocks show the same from three days before the change to four after it."""
    hours = [n * 3600 * SECOND for n in range(-72, 97)]
    return list(
        {
            (at, *((at + n).astimezone(ZoneInfo(zone)).utcoffset() for n in hours)): (zone, at) for zone, at in cases
        }.values()
    )


def _check_minutes(zone: str, moved: datetime) -> None:
    start = moved.replace(hour=0, minute=0) - 2 * DAY
    for expression in BY_MINUTE:
        expected = oracle(expression.matches, window(zone, start, 4), elapsed=expression.elapsed)
        found = _following(Cron.parse(expression.text, zone), start, start + 4 * DAY)
        # The oracle has not seen what was skipped or repeats just before its window.
        assert [f for f in found if f >= start + DAY] == [f for f in expected if f >= start + DAY], (zone, expression)


def _check_seconds(zone: str, moved: datetime) -> None:
    tz, start = ZoneInfo(zone), moved - timedelta(hours=2)
    instants = [(at, at.astimezone(tz).replace(tzinfo=None)) for n in range(4 * 3600) if (at := start + n * SECOND)]
    for expression in BY_SECOND:
        expected = oracle(expression.matches, instants, elapsed=expression.elapsed, unit=SECOND)
        found = _following(Cron.parse(expression.text, zone), start, start + timedelta(hours=4))
        assert found == expected, (zone, moved, expression)


def test_around_sampled_changes_of_all_zones_every_fire_is_the_oracles() -> None:
    chosen = random.Random(20261122)
    found = [case for zone in chosen.sample(ZONES, SAMPLE) if (case := _moved([zone]))]
    for cases in found:
        zone, moved = chosen.choice(cases)
        _check_minutes(zone, moved)
        _check_seconds(zone, moved)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_around_every_change_of_every_zone_in_30_years_every_fire_is_the_oracles() -> None:
    cases = _moved(ZONES)
    assert len(cases) > 10_000
    distinct = _distinct(cases)
    assert len(distinct) > 2_000
    for zone, moved in distinct:
        _check_minutes(zone, moved)
        _check_seconds(zone, moved)


# Rules ---------------------------------------------------------------------------------------------------------------

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def _numbers(low: int, high: int, most: int = 3) -> st.SearchStrategy[str]:
    values = st.lists(st.integers(low, high).filter(bool), min_size=1, max_size=most, unique=True)
    return values.map(lambda found: ",".join(map(str, found)))


@st.composite
def rules(draw: st.DrawFn) -> str:
    freq = draw(st.sampled_from(("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY")))
    parts = {"FREQ": freq, "INTERVAL": str(draw(st.integers(1, 4 if freq != "MINUTELY" else 700)))}
    plain = st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=4, unique=True).map(",".join)
    if draw(st.booleans()):
        parts["BYMONTH"] = draw(_numbers(1, 12))
    if draw(st.booleans()) and freq != "WEEKLY":
        parts["BYMONTHDAY"] = draw(_numbers(-31, 31))
    if draw(st.booleans()):
        if freq in ("YEARLY", "MONTHLY") and draw(st.booleans()):
            numbers = draw(st.lists(st.integers(-5, 5).filter(bool), min_size=1, max_size=2, unique=True))
            parts["BYDAY"] = ",".join(f"{n}{draw(st.sampled_from(WEEKDAYS))}" for n in numbers)
        else:
            parts["BYDAY"] = draw(plain)
    if freq == "YEARLY" and draw(st.integers(0, 4)) == 0:
        parts["BYYEARDAY"] = draw(_numbers(-366, 366, 6))
    if freq == "YEARLY" and draw(st.integers(0, 4)) == 0:
        parts |= {"BYWEEKNO": draw(_numbers(1, 53)), "BYDAY": draw(plain)}
    if draw(st.booleans()):
        parts["BYHOUR"] = draw(st.sampled_from(("9", "0,12", "2,3", "23")))
    if draw(st.booleans()):
        parts["BYMINUTE"] = draw(st.sampled_from(("0", "30", "0,20,59")))
    if freq in ("YEARLY", "MONTHLY", "DAILY") and len(parts) > 2 and draw(st.integers(0, 2)) == 0:
        parts["BYSETPOS"] = draw(_numbers(-3, 3, 2))
    if draw(st.booleans()):
        parts["WKST"] = draw(st.sampled_from(WEEKDAYS))
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _by_dateutil(rule: str, start: datetime, end: datetime, most: int) -> list[datetime]:
    text = rule if "WKST" in rule else f"{rule};WKST=MO"
    found = rrule.rrulestr(text, dtstart=start).replace(until=end)
    return [at for _, at in zip(range(most), takewhile(lambda at: at < end, found), strict=False)]


STARTS = st.datetimes(datetime(1996, 1, 1), datetime(2030, 1, 1)).map(lambda at: at.replace(microsecond=0))
ANY = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@ANY
@given(rules(), STARTS)
def test_a_rule_has_the_local_times_that_another_reading_of_rfc_5545_has(rule: str, start: datetime) -> None:
    _agree(rule, start)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@settings(ANY, max_examples=1000)
@given(rules(), STARTS)
def test_a_thousand_rules_have_the_local_times_that_another_reading_of_rfc_5545_has(rule: str, start: datetime) -> None:
    _agree(rule, start)


def _agree(rule: str, start: datetime) -> None:
    end = start + timedelta(days=400)
    try:
        expected = _by_dateutil(rule, start, end, 40)
    except ValueError:  # intervals that can never meet BYHOUR or BYMINUTE
        assume(False)
        return
    try:
        plan = recurrence({"rrule": rule, "start": start.isoformat()})
    except InvalidInput:  # it never comes
        assert expected == []
        return
    found: list[datetime] = []
    at = start.replace(tzinfo=UTC) - SECOND
    while len(found) < 40 and (fire := plan.next(at)) is not None and fire.replace(tzinfo=None) < end:
        found.append(at := fire)
    assert [at.replace(tzinfo=None) for at in found] == expected
    for fire in found[-3:]:
        assert plan.slot(fire) == plan.slot(fire + timedelta(microseconds=1)) == fire


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago"])
@pytest.mark.parametrize(
    ("rule", "elapsed"),
    [
        ("FREQ=HOURLY;BYMINUTE=0,30", True),
        ("FREQ=HOURLY;INTERVAL=5", True),
        ("FREQ=MINUTELY;INTERVAL=25", True),
        ("FREQ=MINUTELY;INTERVAL=25;BYHOUR=0,1,2,3", False),
        ("FREQ=DAILY;BYHOUR=0,1,2;BYMINUTE=0,15,45", False),
        ("FREQ=WEEKLY;BYDAY=SA,SU;BYHOUR=2;BYMINUTE=30", False),
    ],
)
def test_on_the_days_that_clocks_are_moved_a_rule_follows_the_same_rule_as_cron(
    rule: str, elapsed: bool, zone: str
) -> None:
    origin = datetime(2011, 1, 1)
    plan = recurrence({"rrule": rule, "start": origin.isoformat(), "timezone": zone})
    for moved in changes(zone, 2011):
        start = moved.replace(hour=0, minute=0) - 2 * DAY
        local = _by_dateutil(rule, origin, (start + 6 * DAY).replace(tzinfo=None), 10**6)
        expected = oracle(set(local).__contains__, window(zone, start, 4), elapsed=elapsed)
        found = _following(plan, start, start + 4 * DAY)
        assert [f for f in found if f >= start + DAY] == [f for f in expected if f >= start + DAY]


@given(
    st.integers(1, 200_000),
    st.datetimes(datetime(1960, 1, 1), datetime(2060, 1, 1)),
    st.datetimes(datetime(1960, 1, 1), datetime(2060, 1, 1)),
    st.sampled_from(ODD_ZONES),
)
def test_every_so_often_is_elapsed_time_whatever_the_zone(
    seconds: int, anchor: datetime, after: datetime, zone: str
) -> None:
    plan = recurrence({"every": f"{seconds}s", "anchor": anchor.isoformat() + "Z", "timezone": zone})
    at = after.replace(tzinfo=UTC)
    fire = plan.next(at)
    assert fire is not None
    assert timedelta(0) < fire - at <= seconds * SECOND
    assert (fire - anchor.replace(tzinfo=UTC)) % (seconds * SECOND) == timedelta(0)
    assert plan.slot(fire) == fire
    assert plan.slot(at) == fire - seconds * SECOND
