"""Cron expressions in a time zone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import MAXYEAR, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from tidemill.engine.recurrence import words
from tidemill.engine.recurrence.fields import HOURS, MINUTES, MONTHS, SECONDS, MonthDays, Weekdays
from tidemill.engine.recurrence.wallclock import SECOND, instant, last_fire, next_elapsed, next_wall, read_zone
from tidemill.errors import InvalidInput

_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LONGEST_MONTH = {m: 29 if m == 2 else 30 if m in (4, 6, 9, 11) else 31 for m in range(1, 13)}
_FIELDS = "minute, hour, day of month, month, day of week"
_LONGEST_EXPRESSION = 500


@dataclass(frozen=True)
class Cron:
    """A cron expression, read as wall-clock time in an IANA zone. Made by :meth:`parse`.

    **Daylight saving.** A schedule whose hour field is ``*`` or ``*/n`` runs on elapsed time: it fires at every real
    instant whose local time matches, so in both passes of an hour that repeats, and a skipped hour adds nothing. Any
    other schedule fires once per local time: times that a change skips come together at the first valid instant after
    it, and a time that repeats fires at its first occurrence.

    **Days.** When day of month and day of week are both restricted (neither is ``*``), a day that matches either one
    will do; otherwise both must match.
    """

    expression: str
    """As it was given."""
    zone: ZoneInfo
    """Where the fields are read."""
    _seconds: tuple[int, ...] = field(repr=False)
    _minutes: tuple[int, ...] = field(repr=False)
    _hours: tuple[int, ...] = field(repr=False)
    _days: MonthDays = field(repr=False)
    _months: tuple[int, ...] = field(repr=False)
    _weekdays: Weekdays = field(repr=False)
    _either_day: bool = field(repr=False)
    _elapsed: bool = field(repr=False)

    @classmethod
    def parse(cls, expression: str, zone: str = "UTC") -> Cron:
        """Read ``[second] minute hour day-of-month month day-of-week``, or a shorthand such as @daily.

        Fields take ``*``, numbers, three-letter names of months and weekdays, ranges, lists, and steps over ``*`` or
        a range. Sunday is 0 and 7. A day of month may be ``L``, the last one; a day of week ``mon#2``, the second
        Monday, or ``friL``, the last Friday. What crons disagree about (``5/10``, ``W``, ``?``, ``@reboot``, backward
        ranges, steps longer than the field) is refused rather than guessed.

        Raises:
            InvalidInput: naming the field (``second``, ``minute``, ``hour``, ``day of month``, ``month``,
                ``day of week``), or ``cron`` for the expression as a whole, or ``timezone``.
        """
        if len(expression) > _LONGEST_EXPRESSION:
            raise InvalidInput("cron", f"is longer than {_LONGEST_EXPRESSION} characters")
        text = expression.strip().lower()
        if text.startswith("@"):
            if text not in _SHORTHANDS:
                raise InvalidInput("cron", f"{expression!r} is not one of {', '.join(_SHORTHANDS)}")
            text = _SHORTHANDS[text]
        parts = text.split()
        if len(parts) not in (5, 6):
            raise InvalidInput(
                "cron", f"{expression!r} has {len(parts)} fields, not five ({_FIELDS}) or a second first"
            )
        second, minute, hour, day, month, weekday = parts if len(parts) == 6 else ("0", *parts)
        either = _restricted(day) and _restricted(weekday)
        cron = cls(
            expression=expression,
            zone=read_zone(zone),
            _seconds=SECONDS.read(second),
            _minutes=MINUTES.read(minute),
            _hours=HOURS.read(hour),
            _days=MonthDays.read(day),
            _months=MONTHS.read(month),
            _weekdays=Weekdays.read(weekday),
            _either_day=either,
            _elapsed=hour == "*" or (hour.startswith("*/") and "," not in hour),
        )
        if not either and not cron._days.last and all(cron._days.days[0] > _LONGEST_MONTH[m] for m in cron._months):
            raise InvalidInput("day of month", f"{day!r} never comes in month {month!r}")
        return cron

    def next(self, after: datetime) -> datetime:
        """The first fire strictly after an aware instant, in UTC.

        Raises:
            InvalidInput: when ``after`` has no time zone or the calendar ends first.
        """
        try:
            return self._following(instant("after", after))
        except OverflowError:
            raise InvalidInput("after", f"{self.expression!r} has no fire between {after} and the year 9999") from None

    def slot(self, at: datetime) -> datetime:
        """The last fire at or before an aware instant, in UTC: the slot that work done at ``at`` belongs to.

        Raises:
            InvalidInput: when ``at`` has no time zone or there was no fire since the year 1.
        """
        fire = last_fire(self._following, instant("at", at))
        if fire is None:
            raise InvalidInput("at", f"{self.expression!r} has no fire before {at}")
        return fire

    def words(self) -> str:
        """In plain English: ``at 09:00 on Monday to Friday``."""
        times = words.times_of_day(self._hours, self._minutes, self._seconds)
        by_month = words.month_days((*self._days.days, -1) if self._days.last else self._days.days)
        by_week = words.weekdays(self._weekdays.every, self._weekdays.nth, self._weekdays.last)
        days = (" or " if self._either_day else ", if it is ").join(part for part in (by_month, by_week) if part)
        return words.sentence(times, days and f"on {days}", words.months(self._months))

    def _following(self, after: datetime) -> datetime:
        at = next_elapsed(self.zone, self._match, after) if self._elapsed else next_wall(self.zone, self._match, after)
        if at is None:
            raise OverflowError
        return at

    def _match(self, local: datetime) -> datetime:
        if local.microsecond:
            local = local.replace(microsecond=0) + SECOND
        if local.day in self._days_in(local.year, local.month):
            wanted = (local.hour, local.minute, local.second)
            if found := first_time(wanted, self._hours, self._minutes, self._seconds):
                return datetime(local.year, local.month, local.day, *found)
        return datetime(*self._next_day(local), self._hours[0], self._minutes[0], self._seconds[0])

    def _next_day(self, after: datetime) -> tuple[int, int, int]:
        """The first matching day after that of ``after``."""
        year, month, day = after.year, after.month, after.day
        while year <= MAXYEAR:
            days = self._days_in(year, month)
            if days and days[-1] > day:
                return year, month, days[bisect_right(days, day)]
            year, month, day = (year, month + 1, 0) if month < 12 else (year + 1, 1, 0)
        raise OverflowError

    def _days_in(self, year: int, month: int) -> tuple[int, ...]:
        if month not in self._months:
            return ()
        return _matching_days(self._days, self._weekdays, self._either_day, *monthrange(year, month))


@lru_cache(maxsize=10_000)
def _matching_days(days: MonthDays, weekdays: Weekdays, either: bool, first: int, length: int) -> tuple[int, ...]:
    """The days that match in any month of ``length`` days that begins on weekday ``first`` (Monday = 0)."""

    def on(day: int) -> bool:
        weekday = (first + day) % 7
        by_month = day in days.days or (days.last and day == length)
        by_week = (
            weekday in weekdays.every
            or (weekday, (day + 6) // 7) in weekdays.nth
            or (weekday in weekdays.last and day > length - 7)
        )
        return by_month or by_week if either else by_month and by_week

    return tuple(day for day in range(1, length + 1) if on(day))


def first_time(
    wanted: tuple[int, int, int], hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """The first hour, minute and second at or after ``wanted`` on the same day, of values in ascending order."""
    hour, minute, second = wanted
    h = bisect_left(hours, hour)
    if h < len(hours) and hours[h] == hour:
        m = bisect_left(minutes, minute)
        if m < len(minutes) and minutes[m] == minute:
            s = bisect_left(seconds, second)
            if s < len(seconds):
                return hour, minute, seconds[s]
            m += 1
        if m < len(minutes):
            return hour, minutes[m], seconds[0]
        h += 1
    return (hours[h], minutes[0], seconds[0]) if h < len(hours) else None


def _restricted(text: str) -> bool:
    return text not in ("*", "*/1")
