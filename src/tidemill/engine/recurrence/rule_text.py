"""Reading the text of a recurrence rule: what is given, what the start fills in, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tidemill.engine.recurrence.rule import DAILY, HOURLY, MINUTELY, MONTHLY, UNITS, WEEKLY, YEARLY, Parts, Rule
from tidemill.engine.recurrence.wallclock import TICK, first_occurrence
from tidemill.errors import InvalidInput

_WEEKDAYS = {name: n for n, name in enumerate(("MO", "TU", "WE", "TH", "FR", "SA", "SU"))}
_EPOCH = datetime(1970, 1, 1)
_LONGEST = 500
_MOST_FIRES = 1000
_LONGEST_INTERVAL = 1000
_NUMBERS = {
    "BYMONTH": (1, 12),
    "BYWEEKNO": (-53, 53),
    "BYYEARDAY": (-366, 366),
    "BYMONTHDAY": (-31, 31),
    "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59),
    "BYSECOND": (0, 59),
    "BYSETPOS": (-366, 366),
}
_NAMES = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_NUMBERS)
_NOT_WITH = {
    "BYWEEKNO": (MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY),
    "BYYEARDAY": (MONTHLY, WEEKLY, DAILY),
    "BYMONTHDAY": (WEEKLY,),
    "BYSETPOS": (HOURLY, MINUTELY),
}
_UNTIL = re.compile(r"\d{8}T\d{6}Z?", re.ASCII)
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)


def read_rule(text: object, zone: ZoneInfo, start: datetime | None) -> Rule:
    """Read ``FREQ=…;…`` of RFC 5545; ``start`` is DTSTART as local time in ``zone``.

    Without a start, intervals are counted from 1970-01-01 00:00 local time, and the days must be named.

    Raises:
        InvalidInput: naming the part (``FREQ``, ``BYDAY``, …), or ``rrule`` for the rule as a whole.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise InvalidInput("rrule", f"must be a text of at most {_LONGEST} characters")
    given = _split(text)
    parts = _read(given, zone)
    if start is None and parts.count is not None:
        raise InvalidInput("COUNT", "needs a start to count from")
    if start is None and parts.freq in (YEARLY, MONTHLY, WEEKLY) and not _names_days(parts):
        raise InvalidInput(
            "rrule", f"FREQ={parts.freq} needs its days (BYDAY, BYMONTHDAY) or a start to take them from"
        )
    origin = start or _EPOCH
    elapsed = parts.freq in (HOURLY, MINUTELY) and not parts.hours
    rule = Rule(text.strip(), zone, origin, _filled(parts, origin), elapsed)
    try:
        first = rule.next(first_occurrence(zone, origin) - TICK)
    except OverflowError:
        raise InvalidInput("start", f"{origin} is too near the end of the calendar") from None
    if first is None:
        raise InvalidInput("rrule", f"{text.strip()!r} never comes within a century of its start, {origin.isoformat()}")
    return rule


def _split(text: str) -> dict[str, str]:
    body = text.strip().upper().removeprefix("RRULE:")
    if "DTSTART" in body or any(char.isspace() for char in body):
        raise InvalidInput("rrule", "must be one rule, FREQ=…;…; DTSTART is given as start")
    given: dict[str, str] = {}
    for part in body.removesuffix(";").split(";"):
        name, equals, value = part.partition("=")
        if not equals or name not in _NAMES:
            raise InvalidInput("rrule", f"{part[:50]!r} is not one of {', '.join(_NAMES)}")
        if name in given:
            raise InvalidInput(name, "is given twice")
        given[name] = value
    return given


def _read(given: dict[str, str], zone: ZoneInfo) -> Parts:
    freq = given.get("FREQ", "")
    if freq not in UNITS:
        instead = "; use every for seconds" if freq == "SECONDLY" else ""
        raise InvalidInput("FREQ", f"{freq[:50]!r} is not one of {', '.join(UNITS)}{instead}")
    for name, freqs in _NOT_WITH.items():
        if name in given and freq in freqs:
            raise InvalidInput(name, f"cannot be used with FREQ={freq}")
    if "COUNT" in given and "UNTIL" in given:
        raise InvalidInput("UNTIL", "give either COUNT or UNTIL, not both")
    numbers = {name: _numbers(name, given[name], low, high) for name, (low, high) in _NUMBERS.items() if name in given}
    weekdays, nth = _days(given["BYDAY"], freq) if "BYDAY" in given else ((), ())
    if "BYWEEKNO" in given and (nth or not weekdays):
        raise InvalidInput("BYDAY", "names the days of the weeks in BYWEEKNO, e.g. BYDAY=MO, without numbers")
    if "BYSETPOS" in given and not any(name.startswith("BY") and name != "BYSETPOS" for name in given):
        raise InvalidInput("BYSETPOS", "needs another BY part to choose from")
    if "WKST" in given and given["WKST"] not in _WEEKDAYS:
        raise InvalidInput("WKST", f"{given['WKST'][:50]!r} is not one of {', '.join(_WEEKDAYS)}")
    return Parts(
        freq=freq,
        interval=_number("INTERVAL", given.get("INTERVAL", "1"), 1, _LONGEST_INTERVAL),
        months=numbers.get("BYMONTH", ()),
        weeks=numbers.get("BYWEEKNO", ()),
        year_days=numbers.get("BYYEARDAY", ()),
        month_days=numbers.get("BYMONTHDAY", ()),
        weekdays=weekdays,
        nth_weekdays=nth,
        hours=numbers.get("BYHOUR", ()),
        minutes=numbers.get("BYMINUTE", ()),
        seconds=numbers.get("BYSECOND", ()),
        positions=numbers.get("BYSETPOS", ()),
        week_start=_WEEKDAYS[given.get("WKST", "MO")],
        count=_number("COUNT", given["COUNT"], 1, _MOST_FIRES) if "COUNT" in given else None,
        until=_until(given["UNTIL"], zone) if "UNTIL" in given else None,
    )


def _filled(parts: Parts, start: datetime) -> Parts:
    """The parts with what DTSTART supplies where the rule is silent."""
    freq = parts.freq
    if not _names_days(parts):
        if freq == YEARLY:
            parts = replace(parts, months=parts.months or (start.month,), month_days=(start.day,))
        elif freq == MONTHLY:
            parts = replace(parts, month_days=(start.day,))
        elif freq == WEEKLY:
            parts = replace(parts, weekdays=(start.weekday(),))
    all_hours = tuple(range(24)) if freq in (HOURLY, MINUTELY) else (start.hour,)
    all_minutes = tuple(range(60)) if freq == MINUTELY else (start.minute,)
    return replace(
        parts,
        hours=parts.hours or all_hours,
        minutes=parts.minutes or all_minutes,
        seconds=parts.seconds or (start.second,),
    )


def _names_days(parts: Parts) -> bool:
    return bool(parts.weeks or parts.year_days or parts.month_days or parts.weekdays or parts.nth_weekdays)


def _days(text: str, freq: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    every: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for item in text.split(","):
        found = _BYDAY.fullmatch(item)
        if found is None:
            raise InvalidInput("BYDAY", f"{item[:50]!r} is not a weekday such as MO, 2MO or -1FR")
        number, day = found.groups()
        if number is None:
            every.add(_WEEKDAYS[day])
            continue
        if freq not in (MONTHLY, YEARLY):
            raise InvalidInput("BYDAY", f"{item!r}: a number needs FREQ=MONTHLY or FREQ=YEARLY")
        nth.add((_number("BYDAY", number, -53, 53, zero=False), _WEEKDAYS[day]))
    return tuple(sorted(every)), tuple(sorted(nth))


def _numbers(name: str, text: str, low: int, high: int) -> tuple[int, ...]:
    return tuple(sorted({_number(name, item, low, high, zero=low == 0) for item in text.split(",")}))


def _number(name: str, text: str, low: int, high: int, *, zero: bool = True) -> int:
    digits = text.removeprefix("-") if low < 0 and text.startswith("-") else text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        raise InvalidInput(name, f"{text[:50]!r} is not a number")
    value = int(text)
    if not low <= value <= high or (value == 0 and not zero):
        raise InvalidInput(name, f"{value} is not between {low} and {high}{'' if zero else ', 0 excepted'}")
    return value


def _until(text: str, zone: ZoneInfo) -> datetime:
    if _UNTIL.fullmatch(text):
        try:
            at = datetime.strptime(text.removesuffix("Z"), "%Y%m%dT%H%M%S")
            return at.replace(tzinfo=UTC) if text.endswith("Z") else first_occurrence(zone, at)
        except (ValueError, OverflowError):
            pass
    raise InvalidInput("UNTIL", f"{text[:50]!r} is not a time such as 20260504T090000Z")
