"""Cron expressions in a time zone: the next fire, the last one, and what daylight saving does to them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tidemill.errors import InvalidInput

_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, start=1)}
_WEEKDAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_LONGEST_MONTH = {m: 29 if m == 2 else 30 if m in (4, 6, 9, 11) else 31 for m in range(1, 13)}
_FIELDS = "minute, hour, day of month, month, day of week"
_LONGEST_EXPRESSION = 500

_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Cron:
    """A five-field cron expression, read as wall-clock time in an IANA zone. Made by :meth:`parse`.

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
    _minutes: tuple[int, ...] = field(repr=False)
    _hours: tuple[int, ...] = field(repr=False)
    _days: tuple[int, ...] = field(repr=False)
    _months: tuple[int, ...] = field(repr=False)
    _weekdays: tuple[int, ...] = field(repr=False)
    _either_day: bool = field(repr=False)
    _elapsed: bool = field(repr=False)

    @classmethod
    def parse(cls, expression: str, zone: str = "UTC") -> Cron:
        """Read ``minute hour day-of-month month day-of-week`` or one of @hourly @daily @weekly @monthly @yearly.

        Fields take ``*``, numbers, three-letter names of months and weekdays, ranges, lists, and steps over ``*`` or
        a range. Sunday is 0 and 7. What crons disagree about (``5/10``, ``L``, ``W``, ``#``, ``?``, seconds,
        ``@reboot``, backward ranges, steps longer than the field) is refused rather than guessed.

        Raises:
            InvalidInput: naming the field (``minute``, ``hour``, ``day of month``, ``month``, ``day of week``), or
                ``cron`` for the expression as a whole, or ``timezone``.
        """
        if len(expression) > _LONGEST_EXPRESSION:
            raise InvalidInput("cron", f"is longer than {_LONGEST_EXPRESSION} characters")
        text = expression.strip().lower()
        if text.startswith("@"):
            if text not in _SHORTHANDS:
                raise InvalidInput("cron", f"{expression!r} is not one of {', '.join(_SHORTHANDS)}")
            text = _SHORTHANDS[text]
        parts = text.split()
        if len(parts) != 5:
            raise InvalidInput("cron", f"{expression!r} has {len(parts)} fields, not five: {_FIELDS}")
        minute, hour, day, month, weekday = parts
        either = _restricted(day) and _restricted(weekday)
        cron = cls(
            expression=expression,
            zone=_zone(zone),
            _minutes=_field("minute", minute, 0, 59),
            _hours=_field("hour", hour, 0, 23),
            _days=_field("day of month", day, 1, 31),
            _months=_field("month", month, 1, 12, _MONTHS),
            _weekdays=tuple(sorted({n % 7 for n in _field("day of week", weekday, 0, 7, _WEEKDAYS)})),
            _either_day=either,
            _elapsed=hour == "*" or (hour.startswith("*/") and "," not in hour),
        )
        if not either and all(cron._days[0] > _LONGEST_MONTH[m] for m in cron._months):
            raise InvalidInput("day of month", f"{day!r} never comes in month {month!r}")
        return cron

    def next(self, after: datetime) -> datetime:
        """The first fire strictly after an aware instant, in UTC.

        Raises:
            InvalidInput: when ``after`` has no time zone or the calendar ends first.
        """
        at = _instant("after", after)
        try:
            return self._next_elapsed(at) if self._elapsed else self._next_wall(at)
        except OverflowError:
            raise InvalidInput("after", f"{self.expression!r} has no fire between {after} and the year 9999") from None

    def slot(self, at: datetime) -> datetime:
        """The last fire at or before an aware instant, in UTC: the slot that work done at ``at`` belongs to.

        Raises:
            InvalidInput: when ``at`` has no time zone or there was no fire since the year 1.
        """
        at = _instant("at", at)
        back = _MINUTE
        try:
            while (fire := self.next(at - back)) > at:
                back *= 2
        except OverflowError:
            raise InvalidInput("at", f"{self.expression!r} has no fire before {at}") from None
        # Fires lie in [fire, at]: halve that until nothing is left after the one we have.
        end = at
        while fire < end:
            middle = fire + (end - fire) / 2
            if (later := self.next(middle)) <= at:
                fire = later
            elif self.next(fire) > at:
                break
            else:
                end = middle
        return fire

    # Elapsed time: walk real time forward, at most a day at a stride, and look again at each change of the offset.
    # No change moves clocks by more than a day. So one met after the first day cannot lead back to before `here`, nor
    # one met two days ahead of the target reach it: what lies between can be leapt over.
    def _next_elapsed(self, after: datetime) -> datetime:
        now = after
        target = self._match(self._wall(now) + _TICK)
        while True:
            here = self._wall(now)
            stride = min(target - here, _DAY)
            end = now + stride
            if self._wall(end) - here != stride:
                now = self._change(now, end)
                target = self._match(self._wall(now))
            elif stride == target - here:
                return end
            else:
                now = end + max(target - here - 3 * _DAY, timedelta(0))

    # Wall-clock time: walk local times forward; their instants never go back, so the first one past `after` is it.
    def _next_wall(self, after: datetime) -> datetime:
        local = self._wall(after)
        while True:
            local = self._match(local + _TICK)
            if (at := self._first_occurrence(local)) > after:
                return at

    def _first_occurrence(self, local: datetime) -> datetime:
        at = local.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        if self._wall(at) == local:
            return at
        # In a gap, fold=0 reads with the offset before the change and so lands past it; fold=1 lands before it.
        return self._change(local.replace(tzinfo=self.zone, fold=1).astimezone(UTC), at)

    def _change(self, before: datetime, end: datetime) -> datetime:
        """The instant in (before, end], in whole seconds, at which the offset that rules ``before`` gives way."""
        before = before.replace(microsecond=0)
        offset = before.astimezone(self.zone).utcoffset()
        low, high = 0, -((before - end) // _SECOND)
        while high - low > 1:
            middle = (low + high) // 2
            if (before + middle * _SECOND).astimezone(self.zone).utcoffset() == offset:
                low = middle
            else:
                high = middle
        return before + high * _SECOND

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(self.zone).replace(tzinfo=None, fold=0)

    def _match(self, local: datetime) -> datetime:
        """The first matching local time at or after ``local``, whether or not it exists in the zone."""
        if local.second or local.microsecond:
            local = local.replace(second=0, microsecond=0) + _MINUTE
        day = local.date()
        if self._on(day):
            hour = bisect_left(self._hours, local.hour)
            if hour < len(self._hours) and self._hours[hour] == local.hour:
                minute = bisect_left(self._minutes, local.minute)
                if minute < len(self._minutes):
                    return local.replace(minute=self._minutes[minute])
                hour += 1
            if hour < len(self._hours):
                return local.replace(hour=self._hours[hour], minute=self._minutes[0])
        day += _DAY
        while not self._on(day):
            day = day + _DAY if day.month in self._months else (day.replace(day=28) + 4 * _DAY).replace(day=1)
        return datetime(day.year, day.month, day.day, self._hours[0], self._minutes[0])

    def _on(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        by_month, by_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return by_month or by_week if self._either_day else by_month and by_week


def _instant(name: str, at: datetime) -> datetime:
    if at.tzinfo is None:
        raise InvalidInput(name, f"{at} has no time zone")
    return at.astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # KeyError: unknown; ValueError: not a relative path (or NUL bytes); OSError: a folder such as "America".
        raise InvalidInput("timezone", f"{name[:100]!r} is not an IANA time zone") from None


def _restricted(text: str) -> bool:
    return text not in ("*", "*/1")


def _field(name: str, text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> tuple[int, ...]:
    values: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        if span == "*":
            first, last = low, high
        else:
            start, dash, stop = span.partition("-")
            first = _value(name, start, low, high, names)
            last = _value(name, stop, low, high, names) if dash else first
            if slash and not dash:
                raise InvalidInput(name, f"{item!r}: a step needs a range or *, e.g. {start}-{high}/{step}")
            if stop == "sun":
                last = 7
            if last < first:
                raise InvalidInput(name, f"the range {span!r} runs backwards")
        stride = _number(name, step) if slash else 1
        if not 1 <= stride <= high - low + 1:
            raise InvalidInput(name, f"the step in {item!r} must lie between 1 and {high - low + 1}")
        values.update(range(first, last + 1, stride))
    return tuple(sorted(values))


def _value(name: str, text: str, low: int, high: int, names: Mapping[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    value = _number(name, text)
    if not low <= value <= high:
        raise InvalidInput(name, f"{value} is not between {low} and {high}")
    return value


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise InvalidInput(name, f"{text!r} is not supported here; use numbers, names, lists, ranges or steps")
    return int(text)
