"""Cron expressions in a time zone."""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tidemill.engine.recurrence import words
from tidemill.engine.recurrence.fields import HOURS, MINUTES, MONTHS, SECONDS, MonthDays, Weekdays
from tidemill.engine.recurrence.wallclock import DAY, SECOND, instant, last_fire, next_elapsed, next_wall, read_zone
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
        day = local.date()
        if self._on(day):
            wanted = (local.hour, local.minute, local.second)
            if found := first_time(wanted, self._hours, self._minutes, self._seconds):
                return datetime(day.year, day.month, day.day, *found)
        day += DAY
        while not self._on(day):
            day = day + DAY if day.month in self._months else (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        return datetime(day.year, day.month, day.day, self._hours[0], self._minutes[0], self._seconds[0])

    def _on(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        by_month, by_week = self._on_month_day(day), self._on_weekday(day)
        return by_month or by_week if self._either_day else by_month and by_week

    def _on_month_day(self, day: date) -> bool:
        return day.day in self._days.days or (self._days.last and day.day == _month_length(day))

    def _on_weekday(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        return (
            weekday in self._weekdays.every
            or (weekday, (day.day + 6) // 7) in self._weekdays.nth
            or (weekday in self._weekdays.last and day.day > _month_length(day) - 7)
        )


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


def _month_length(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _restricted(text: str) -> bool:
    return text not in ("*", "*/1")
