"""One field of a cron expression: numbers, names, lists, ranges and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidemill.errors import InvalidInput


@dataclass(frozen=True)
class Field:
    """What a field may hold: its name in messages, its bounds and the names of its values."""

    name: str
    low: int
    high: int
    names: Mapping[str, int]

    def read(self, text: str) -> tuple[int, ...]:
        """The values that ``text`` means, ascending.

        Raises:
            InvalidInput: naming the field.
        """
        values: set[int] = set()
        for item in text.split(","):
            values.update(self.item(item))
        return tuple(sorted(values))

    def item(self, item: str) -> range:
        """The values of one member of the list."""
        span, slash, step = item.partition("/")
        if span == "*":
            first, last = self.low, self.high
        else:
            start, dash, stop = span.partition("-")
            first = self.value(start)
            last = self.value(stop) if dash else first
            if slash and not dash:
                raise InvalidInput(self.name, f"{item!r}: a step needs a range or *, e.g. {start}-{self.high}/{step}")
            if stop == "sun":
                last = 7
            if last < first:
                raise InvalidInput(self.name, f"the range {span!r} runs backwards")
        stride = self._number(step) if slash else 1
        size = self.high - self.low + 1
        if not 1 <= stride <= size:
            raise InvalidInput(self.name, f"the step in {item!r} must lie between 1 and {size}")
        return range(first, last + 1, stride)

    def value(self, text: str) -> int:
        """One number or name."""
        if text in self.names:
            return self.names[text]
        value = self._number(text)
        if not self.low <= value <= self.high:
            raise InvalidInput(self.name, f"{value} is not between {self.low} and {self.high}")
        return value

    def _number(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 4):
            raise InvalidInput(self.name, f"{text!r} is not supported here; use numbers, names, lists, ranges or steps")
        return int(text)


_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

SECONDS = Field("second", 0, 59, {})
MINUTES = Field("minute", 0, 59, {})
HOURS = Field("hour", 0, 23, {})
DAYS = Field("day of month", 1, 31, {})
MONTHS = Field("month", 1, 12, {name: n for n, name in enumerate(_MONTH_NAMES, start=1)})
WEEKDAYS = Field("day of week", 0, 7, {name: n for n, name in enumerate(_DAY_NAMES)})


@dataclass(frozen=True)
class MonthDays:
    """Days of a month: numbers, and ``L`` for the last."""

    days: tuple[int, ...]
    last: bool

    @classmethod
    def read(cls, text: str) -> MonthDays:
        """Read a day-of-month field.

        Raises:
            InvalidInput: naming the field.
        """
        items = text.split(",")
        numbers = ",".join(item for item in items if item != "l")
        return cls(DAYS.read(numbers) if numbers or "l" not in items else (), "l" in items)


@dataclass(frozen=True)
class Weekdays:
    """Days of a week, Sunday being 0: every one (``mon``), the nth of its month (``mon#2``), the last (``monL``)."""

    every: tuple[int, ...]
    nth: tuple[tuple[int, int], ...]
    last: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> Weekdays:
        """Read a day-of-week field.

        Raises:
            InvalidInput: naming the field.
        """
        every: set[int] = set()
        nth: set[tuple[int, int]] = set()
        last: set[int] = set()
        for item in text.split(","):
            day, hash_, which = item.partition("#")
            if hash_:
                if which not in ("1", "2", "3", "4", "5"):
                    raise InvalidInput(WEEKDAYS.name, f"{item!r}: after # stands 1 to 5, e.g. mon#2")
                nth.add((WEEKDAYS.value(day) % 7, int(which)))
            elif item.endswith("l") and item != "l":
                last.add(WEEKDAYS.value(item[:-1]) % 7)
            elif item == "l":
                raise InvalidInput(
                    WEEKDAYS.name, "'L' alone has no one meaning; write sat, or e.g. friL for the last one"
                )
            else:
                every.update(n % 7 for n in WEEKDAYS.item(item))
        return cls(tuple(sorted(every)), tuple(sorted(nth)), tuple(sorted(last)))
