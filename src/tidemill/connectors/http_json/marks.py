"""Values of a cursor field: compared as what they are, kept in the provider's own words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Literal, NamedTuple

MAX_AHEAD = timedelta(days=1)
"""A time further ahead of now never becomes the cursor: nothing that is changed before then would be found again."""
_MAX_TEXT = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Mark(NamedTuple):
    """A value that has a place in the order."""

    place: Decimal
    """The number, or microseconds since 1970."""
    text: str


def mark(value: object, compare: Literal["time", "number"]) -> Mark | None:
    """The place of ``value``; None when it has none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(text := str(value)) > _MAX_TEXT:
        return None
    try:
        if compare == "number":
            number = Decimal(text)
            return Mark(number, text) if number.is_finite() else None
        time = datetime.fromisoformat(text)
        return Mark(_microseconds(time if time.tzinfo else time.replace(tzinfo=UTC)), text)
    except (InvalidOperation, ValueError, OverflowError):
        return None


class Watermark:
    """The highest value of a read, and what of it may be kept as a cursor.

    Args:
        compare: how values are compared.
        inclusive: whether asking for a value gives the records that have it.
        now: the slot clock's time, against values from the future.
    """

    def __init__(self, compare: Literal["time", "number"], *, inclusive: bool, now: datetime) -> None:
        self._compare: Literal["time", "number"] = compare
        self._inclusive = inclusive
        self._latest = _microseconds(now + MAX_AHEAD) if compare == "time" else None
        self._highest: Mark | None = None
        self._below: Mark | None = None

    def start(self, cursor: str) -> bool:
        """Begin at ``cursor``; False when it is no value."""
        self._highest = self._below = mark(cursor, self._compare)
        return self._highest is not None

    def see(self, values: Iterable[object]) -> Mark | None:
        """Take in the values of one page; gives back its lowest."""
        marks = [found for value in values if (found := mark(value, self._compare)) and self._is_due(found)]
        for found in sorted(marks, key=lambda found: found.place):
            if self._highest is None or found.place > self._highest.place:
                self._below, self._highest = self._highest, found
        return min(marks, key=lambda found: found.place, default=None)

    @property
    def highest(self) -> Mark | None:
        """The highest value so far."""
        return self._highest

    def within(self) -> str | None:
        """The cursor amid an ascending read: records of the highest value may still follow on the next page."""
        safe = self._highest if self._inclusive else self._below
        return safe.text if safe else None

    def at_end(self) -> str | None:
        """The cursor after the last page."""
        return self._highest.text if self._highest else None

    def _is_due(self, found: Mark) -> bool:
        return self._latest is None or found.place <= self._latest


def _microseconds(time: datetime) -> Decimal:
    return Decimal((time - _EPOCH) // timedelta(microseconds=1))
