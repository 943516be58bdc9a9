"""Cron against an oracle that knows nothing of it: every minute of real time, looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tidemill.engine.recurrence import Cron

MINUTE = timedelta(minutes=1)
ODD_ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "America/Caracas", "America/New_York", "America/Noronha", "America/Nuuk",
    "America/Santiago", "Antarctica/Troll", "Asia/Gaza", "Asia/Kathmandu", "Asia/Pyongyang", "Asia/Taipei",
    "Asia/Tehran", "Australia/Lord_Howe", "Europe/Dublin", "Europe/London", "Pacific/Apia", "Pacific/Kwajalein", "UTC",
)  # fmt: skip
ZONES = sorted(z for z in available_timezones() if "/" in z and not z.startswith(("posix/", "right/")))


@dataclass(frozen=True)
class Field:
    text: str
    values: frozenset[int]


@dataclass(frozen=True)
class Expression:
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    second: Field | None = None

    @property
    def text(self) -> str:
        fields = (self.minute, self.hour, self.day, self.month, self.weekday)
        return " ".join(f.text for f in ((self.second, *fields) if self.second else fields))

    @property
    def elapsed(self) -> bool:
        return self.hour.text[0] == "*" and "," not in self.hour.text

    def on(self, local: datetime) -> bool:
        day, weekday = local.day in self.day.values, local.isoweekday() % 7 in self.weekday.values
        both = self.day.text != "*" and self.weekday.text != "*"
        return local.month in self.month.values and ((day or weekday) if both else (day and weekday))

    def matches(self, local: datetime) -> bool:
        on_time = local.minute in self.minute.values and local.hour in self.hour.values
        return on_time and local.second in (self.second.values if self.second else (0,)) and self.on(local)


@lru_cache(maxsize=64)
def window(zone: str, start: datetime, days: int) -> Sequence[tuple[datetime, datetime]]:
    """Every minute of some days as (instant, local time)."""
    tz = ZoneInfo(zone)
    instants = [start + n * MINUTE for n in range(days * 1440)]
    return [(at, at.astimezone(tz).replace(tzinfo=None)) for at in instants]


def oracle(
    matches: Callable[[datetime], bool],
    minutes: Sequence[tuple[datetime, datetime]],
    *,
    elapsed: bool,
    unit: timedelta = MINUTE,
) -> list[datetime]:
    """The fires among instants that lie a unit of time apart."""
    fires: list[datetime] = []
    latest = minutes[0][1] - unit
    for at, local in minutes:
        if elapsed:
            fire = matches(local)
        else:
            fire = False
            while latest < local:
                latest += unit
                fire = fire or matches(latest)
        if fire:
            fires.append(at)
    return fires


@lru_cache(maxsize=5_000)
def changes(zone: str, year: int) -> Sequence[datetime]:
    """The instants of a year at which the zone's offset changes, to the minute."""
    tz = ZoneInfo(zone)
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(367)]
    offsets = [day.astimezone(tz).utcoffset() for day in days]
    found: list[datetime] = []
    for day, before, after in zip(days, offsets, offsets[1:], strict=False):
        if before != after:
            found.append(
                next(at for n in range(1, 1441) if (at := day + n * MINUTE).astimezone(tz).utcoffset() == after)
            )
    return found


def _items(low: int, high: int) -> st.SearchStrategy[Field]:
    single = st.integers(low, high).map(lambda n: Field(str(n), frozenset({n})))
    spans = st.tuples(st.integers(low, high), st.integers(low, high), st.integers(1, 8)).map(
        lambda s: Field(
            f"{min(s[:2])}-{max(s[:2])}" + (f"/{s[2]}" if s[2] > 1 else ""),
            frozenset(range(min(s[:2]), max(s[:2]) + 1, s[2])),
        )
    )
    return st.one_of(single, spans)


def _field(low: int, high: int, *, stars: int = 1) -> st.SearchStrategy[Field]:
    everything = st.just(Field("*", frozenset(range(low, high + 1))))
    step = st.integers(2, high - low + 1).map(lambda n: Field(f"*/{n}", frozenset(range(low, high + 1, n))))
    listed = st.lists(_items(low, high), min_size=1, max_size=3).map(
        lambda fs: Field(",".join(f.text for f in fs), frozenset[int]().union(*(f.values for f in fs)))
    )
    return st.one_of(*[everything] * stars, step, listed)


def _sundays(field: Field) -> Field:
    return Field(field.text, frozenset(n % 7 for n in field.values))


expressions = st.builds(
    Expression,
    minute=_field(0, 59),
    hour=_field(0, 23, stars=2),
    day=_field(1, 28, stars=3).map(lambda f: f if f.text[0] != "*" else Field("*", frozenset(range(1, 32)))),
    month=st.just(Field("*", frozenset(range(1, 13)))),
    weekday=st.one_of(_field(0, 6, stars=3), _items(0, 7).map(_sundays)),
)


def _near(hour: int) -> st.SearchStrategy[Field]:
    """Hours about the one in which clocks are moved, as a list: wall-clock times, not elapsed ones."""
    hours = st.sets(st.integers(hour - 2, hour + 2).map(lambda h: h % 24), min_size=1, max_size=3)
    return hours.map(lambda hs: Field(",".join(map(str, sorted(hs))), frozenset(hs)))


@st.composite
def moved_clocks(draw: st.DrawFn) -> tuple[Expression, str, datetime]:
    """An expression, and a zone and day on which clocks are moved."""
    zone = draw(st.one_of(st.sampled_from(ODD_ZONES), st.sampled_from(ZONES)))
    year = draw(st.integers(1975, 2037))
    moved = next((found for n in range(40) if (found := changes(zone, 1975 + (year - 1975 + n) % 63))), None)
    expression = draw(expressions)
    if moved is None:
        return expression, zone, datetime(year, draw(st.integers(1, 12)), 1, tzinfo=UTC)
    at = draw(st.sampled_from(moved))
    if draw(st.booleans()):
        local = (at - MINUTE).astimezone(ZoneInfo(zone))
        expression = replace(expression, hour=draw(_near(local.hour)))
    return expression, zone, at.replace(hour=0, minute=0) - timedelta(days=2)


def _agree(expression: Expression, zone: str, start: datetime, days: int = 4) -> None:
    expected = oracle(expression.matches, window(zone, start, days), elapsed=expression.elapsed)
    cron = Cron.parse(expression.text, zone)
    end = start + timedelta(days=days)
    found: list[datetime] = []
    at = start - timedelta(microseconds=1)
    while (at := cron.next(at)) < end:
        found.append(at)
        assert len(found) <= len(expected)
    # The oracle has not seen what repeats or was skipped just before its window; a day is longer than any change in it.
    settled = start + timedelta(days=1)
    assert [f for f in found if f >= settled] == [f for f in expected if f >= settled]
    for fire in found[:: max(1, len(found) // 4)]:
        following = cron.next(fire)
        assert cron.slot(fire) == fire
        assert cron.slot(fire + (following - fire) * 0.6) == fire


STAR = {
    "day": Field("*", frozenset(range(1, 32))),
    "month": Field("*", frozenset(range(1, 13))),
    "weekday": Field("*", frozenset(range(7))),
}
HALF_PAST_TWO = Expression(Field("30", frozenset({30})), Field("2", frozenset({2})), **STAR)
MIDNIGHT = Expression(Field("0", frozenset({0})), Field("0", frozenset({0})), **STAR)
EVERY_SEVEN = Expression(Field("*/7", frozenset(range(0, 60, 7))), Field("*/2", frozenset(range(0, 24, 2))), **STAR)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(moved_clocks())
@example((HALF_PAST_TWO, "Australia/Lord_Howe", datetime(2024, 10, 4, tzinfo=UTC)))
@example((EVERY_SEVEN, "Australia/Lord_Howe", datetime(2024, 4, 5, tzinfo=UTC)))
@example((MIDNIGHT, "America/Santiago", datetime(2024, 9, 6, tzinfo=UTC)))
@example((MIDNIGHT, "Pacific/Apia", datetime(2011, 12, 28, tzinfo=UTC)))
@example((EVERY_SEVEN, "Pacific/Apia", datetime(2011, 12, 28, tzinfo=UTC)))
@example((EVERY_SEVEN, "Africa/Casablanca", datetime(2024, 3, 8, tzinfo=UTC)))
@example((MIDNIGHT, "Asia/Taipei", datetime(1979, 6, 29, tzinfo=UTC)))
@example((EVERY_SEVEN, "Asia/Pyongyang", datetime(2018, 5, 3, tzinfo=UTC)))
def test_every_fire_around_a_change_of_clocks_is_the_oracles(case: tuple[Expression, str, datetime]) -> None:
    _agree(*case)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(expressions, st.sampled_from(ODD_ZONES), st.dates(datetime(1975, 1, 1).date(), datetime(2036, 1, 1).date()))
def test_every_fire_of_an_ordinary_month_is_the_oracles(expression: Expression, zone: str, day: datetime) -> None:
    _agree(expression, zone, datetime(day.year, day.month, day.day, tzinfo=UTC), days=30)


@settings(max_examples=150)
@given(
    st.integers(1, 31),
    st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True),
    st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1)),
    st.sampled_from(["0 0", "0 *"]),
)
@example(29, [2], datetime(2096, 3, 1), "0 *")
def test_rare_dates_are_found_however_far_away(day: int, months: list[int], after: datetime, times: str) -> None:
    if day > 28 and not any(_exists(2024, month, day) for month in months):
        return
    start = after.replace(tzinfo=UTC, minute=30)
    expected = next(
        datetime(year, month, day, tzinfo=UTC)
        for year in range(after.year, after.year + 9)
        for month in sorted(months)
        if _exists(year, month, day) and datetime(year, month, day, 23, tzinfo=UTC) > start
    )
    if times == "0 *" and expected < start:
        expected = start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    elif expected < start:
        return
    assert Cron.parse(f"{times} {day} {','.join(map(str, months))} *").next(start) == expected


def _exists(year: int, month: int, day: int) -> bool:
    try:
        datetime(year, month, day)
    except ValueError:
        return False
    return True
