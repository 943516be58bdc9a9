"""Recurrence rules of RFC 5545 in a time zone."""

from __future__ import annotations

from bisect import bisect_right
from calendar import isleap, monthrange
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from tidemill.engine.recurrence import words
from tidemill.engine.recurrence.cron import first_time
from tidemill.engine.recurrence.wallclock import (
    DAY,
    SECOND,
    TICK,
    first_occurrence,
    instant,
    last_fire,
    next_elapsed,
    next_wall,
)

YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY = "YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"
UNITS = {YEARLY: "year", MONTHLY: "month", WEEKLY: "week", DAILY: "day", HOURLY: "hour", MINUTELY: "minute"}

_HORIZON_YEARS = 100
"""Years (periods, of a yearly rule) after which a rule without a fire is taken to have ended."""


@dataclass(frozen=True)
class Parts:
    """The parts of a rule; one that is absent is None or empty. Weekdays are numbered from Monday = 0."""

    freq: str
    interval: int = 1
    months: tuple[int, ...] = ()
    weeks: tuple[int, ...] = ()
    year_days: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    weekdays: tuple[int, ...] = ()
    nth_weekdays: tuple[tuple[int, int], ...] = ()
    """Which (from the end when negative), and the weekday."""
    hours: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()
    seconds: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    week_start: int = 0
    count: int | None = None
    until: datetime | None = None
    """The last instant at which it may fire."""


@dataclass(frozen=True)
class Rule:
    """A recurrence rule, read as wall-clock time in an IANA zone. Made by ``read_rule``, which fills in its parts.

    **Daylight saving.** An hourly or minutely rule without BYHOUR runs on elapsed time: it fires at every real instant
    whose local time is in the set. Any other fires once per local time: times that a change skips come together at the
    first valid instant after it, and a time that repeats fires at its first occurrence. COUNT counts fires.
    """

    text: str
    zone: ZoneInfo
    start: datetime
    """Local time from which intervals are counted and before which nothing fires."""
    parts: Parts
    elapsed: bool

    def next(self, after: datetime) -> datetime | None:
        """The first fire strictly after an aware instant, in UTC; None when none follows, or none in a century.

        Raises:
            InvalidInput: when ``after`` has no time zone.
        """
        after = instant("after", after)
        if self.parts.count is not None:
            which = bisect_right(self._counted, after)
            return self._counted[which] if which < len(self._counted) else None
        return self._following(after)

    def slot(self, at: datetime) -> datetime | None:
        """The last fire at or before an aware instant, in UTC, if there was one.

        Raises:
            InvalidInput: when ``at`` has no time zone.
        """
        return last_fire(self.next, instant("at", at))

    def words(self) -> str:
        """In plain English: ``every 2 weeks on Monday at 09:00``."""
        p = self.parts
        weekdays = words.weekdays(
            sorted((day + 1) % 7 for day in p.weekdays), [((day + 1) % 7, n) for n, day in p.nth_weekdays]
        )
        weeks = f"in weeks {words.listed([str(n) for n in p.weeks])}" if p.weeks else ""
        year_days = f"on days {words.listed([str(n) for n in p.year_days])} of the year" if p.year_days else ""
        days = ", if it is ".join(part for part in (words.month_days(p.month_days), weekdays) if part)
        if p.positions:
            which = words.listed([words.ordinal(n) for n in p.positions])
            days = f"the {which} of {days or 'these'}"
        times = self._marks() if p.freq in (HOURLY, MINUTELY) else words.times_of_day(p.hours, p.minutes, p.seconds)
        said = (
            words.every(p.interval, UNITS[p.freq]),
            days and f"on {days}",
            year_days,
            weeks,
            words.months(p.months) if p.months else "",
            times,
        )
        end = f", {p.count} times" if p.count else f", until {p.until:%Y-%m-%d %H:%M:%S} UTC" if p.until else ""
        return " ".join(part for part in said if part) + end

    def _marks(self) -> str:
        p = self.parts
        named = [("hour", p.hours, 24), ("minute", p.minutes, 60), ("second", p.seconds, 60)]
        marks = [
            f"{unit} {words.listed(words.spans(values, str))}"
            for unit, values, size in named
            if len(values) < size and (unit != "second" or values != (0,))
        ]
        return f"at {', '.join(marks)}" if marks and marks != ["minute 0"] else ""

    @cached_property
    def _counted(self) -> list[datetime]:
        """The fires of a rule with COUNT, those in its first century."""
        endless = replace(self, parts=replace(self.parts, count=None))
        fires: list[datetime] = []
        end = self._end(self.start)
        fire = endless.next(first_occurrence(self.zone, self.start) - TICK)
        while fire is not None and fire.date() < end and len(fires) < (self.parts.count or 0):
            fires.append(fire)
            fire = endless.next(fire)
        return fires

    def _following(self, after: datetime) -> datetime | None:
        walk = next_elapsed if self.elapsed else next_wall
        try:
            at = walk(self.zone, self._match, after)
        except OverflowError:
            return None
        return None if at is None or (self.parts.until and at > self.parts.until) else at

    def _match(self, local: datetime) -> datetime | None:
        if local.microsecond:
            local = local.replace(microsecond=0) + SECOND
        local = max(local, self.start)
        found = self._positioned(local) if self.parts.positions else self._plain(local)
        return next(found, None)

    def _plain(self, local: datetime) -> Iterator[datetime]:
        for day in self._days(local.date(), self._end(local)):
            wanted = local.time() if day == local.date() else time()
            if found := self._time(day, wanted):
                yield found

    def _time(self, day: date, wanted: time) -> datetime | None:
        """The first matching time of a matching day at or after ``wanted``."""
        p = self.parts
        if p.freq not in (HOURLY, MINUTELY):
            found = first_time((wanted.hour, wanted.minute, wanted.second), p.hours, p.minutes, p.seconds)
            return datetime.combine(day, time(*found)) if found else None
        passed = self._passed(day)
        for hour in p.hours:
            if hour < wanted.hour:
                continue
            if p.freq == HOURLY:
                minutes = p.minutes if (passed + hour) % p.interval == 0 else ()
            else:
                minutes = tuple(m for m in p.minutes if (passed + hour * 60 + m) % p.interval == 0)
            earliest = (wanted.hour, wanted.minute, wanted.second) if hour == wanted.hour else (hour, 0, 0)
            if minutes and (found := first_time(earliest, (hour,), minutes, p.seconds)):
                return datetime.combine(day, time(*found))
        return None

    def _passed(self, day: date) -> int:
        """Hours or minutes, as FREQ says, from the start to the first of a day."""
        days = (day - self.start.date()).days
        if self.parts.freq == HOURLY:
            return days * 24 - self.start.hour
        return (days * 24 - self.start.hour) * 60 - self.start.minute

    @cached_property
    def _steps(self) -> frozenset[int]:
        """How far into an interval a day may begin, so that one of its hours or minutes can be in step."""
        p = self.parts
        units = p.hours if p.freq == HOURLY else [hour * 60 + minute for hour in p.hours for minute in p.minutes]
        return frozenset(-unit % p.interval for unit in units)

    def _positioned(self, local: datetime) -> Iterator[datetime]:
        """What BYSETPOS chooses of each period."""
        p = self.parts
        a_day = len(p.hours) * len(p.minutes) * len(p.seconds)
        first, end = self._period(local.date()), self._end(local)
        while first < end:
            last = self._period_after(first)
            days = list(self._days(first, last))
            total = len(days) * a_day
            chosen = {n - 1 if n > 0 else total + n for n in p.positions}
            for n in sorted(n for n in chosen if 0 <= n < total):
                minute, second = divmod(n % a_day, len(p.seconds))
                hour, minute = divmod(minute, len(p.minutes))
                at = datetime.combine(days[n // a_day], time(p.hours[hour], p.minutes[minute], p.seconds[second]))
                if at >= local:
                    yield at
            first = last

    def _end(self, local: datetime) -> date:
        years = _HORIZON_YEARS * (self.parts.interval if self.parts.freq == YEARLY else 1)
        return date(min(local.year + years, 9999), 12, 31)

    def _days(self, day: date, end: date) -> Iterator[date]:
        """The matching days from ``day`` up to before ``end``."""
        months = self.parts.months
        while day < end:
            if self._out_of_step(day):
                day = self._period_after(self._period(day))
            elif months and day.month not in months:
                day = _next_month(day)
            else:
                if self._on(day):
                    yield day
                day += DAY

    def _period(self, day: date) -> date:
        match self.parts.freq:
            case "YEARLY":
                return day.replace(month=1, day=1)
            case "MONTHLY":
                return day.replace(day=1)
            case "WEEKLY":
                return day - timedelta(days=(day.weekday() - self.parts.week_start) % 7)
            case _:
                return day

    def _period_after(self, first: date) -> date:
        match self.parts.freq:
            case "YEARLY":
                return _next_month(first.replace(month=12))
            case "MONTHLY":
                return _next_month(first)
            case "WEEKLY":
                return first + 7 * DAY
            case _:
                return first + DAY

    def _out_of_step(self, day: date) -> bool:
        start = self.start.date()
        match self.parts.freq:
            case "YEARLY":
                passed = day.year - start.year
            case "MONTHLY":
                passed = (day.year - start.year) * 12 + day.month - start.month
            case "WEEKLY":
                passed = (self._period(day) - self._period(start)).days // 7
            case "DAILY":
                passed = (day - start).days
            case _:
                return self._passed(day) % self.parts.interval not in self._steps
        return passed % self.parts.interval != 0

    def _on(self, day: date) -> bool:
        p = self.parts
        if p.month_days and not _either_end(day.day, monthrange(day.year, day.month)[1], p.month_days):
            return False
        if p.year_days and not _either_end(_year_day(day), _year_length(day), p.year_days):
            return False
        if p.weeks and not self._in_week(day):
            return False
        if not p.weekdays and not p.nth_weekdays:
            return True
        return day.weekday() in p.weekdays or any(
            weekday == day.weekday() and self._is_nth(n, day) for n, weekday in p.nth_weekdays
        )

    def _is_nth(self, n: int, day: date) -> bool:
        if self.parts.freq == YEARLY and not self.parts.months:
            place, size = _year_day(day), _year_length(day)
        else:
            place, size = day.day, monthrange(day.year, day.month)[1]
        return (place + 6) // 7 == n if n > 0 else (size - place + 7) // 7 == -n

    def _in_week(self, day: date) -> bool:
        # A week belongs to the year that its fourth day is in.
        middle = day + timedelta(days=3 - (day.weekday() - self.parts.week_start) % 7)
        number = (_year_day(middle) + 6) // 7
        rest = (_year_length(middle) - _year_day(middle)) // 7
        return _either_end(number, number + rest, self.parts.weeks)


def _either_end(place: int, size: int, wanted: tuple[int, ...]) -> bool:
    return place in wanted or place - size - 1 in wanted


def _year_day(day: date) -> int:
    return day.timetuple().tm_yday


def _year_length(day: date) -> int:
    return 366 if isleap(day.year) else 365


def _next_month(day: date) -> date:
    return (day.replace(day=28) + 4 * DAY).replace(day=1)
