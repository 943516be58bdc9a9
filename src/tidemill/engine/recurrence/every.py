"""Recurrences by the clock that never jumps: every so often, once, never."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidemill.engine.recurrence.wallclock import instant
from tidemill.engine.recurrence.words import length
from tidemill.errors import InvalidInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)
_LONGEST = timedelta(days=3660)


def read_duration(name: str, value: object) -> timedelta:
    """``15m``, ``1h30m``, ``90s``, ``1d``: days of 24 hours, hours, minutes, seconds, in this order.

    Raises:
        InvalidInput: naming ``name``; also when it is longer than ten years.
    """
    found = _DURATION.fullmatch(value.strip().lower()) if isinstance(value, str) and len(value) <= 50 else None
    if found is None or not any(part is not None for part in found.groups()):
        raise InvalidInput(name, f"{str(value)[:50]!r} is not a duration such as 15m, 1h30m, 90s or 1d")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if span > _LONGEST:
        raise InvalidInput(name, f"{value!r} is longer than ten years")
    return span


@dataclass(frozen=True)
class Every:
    """A fire every ``step`` of elapsed time, before and after ``anchor`` alike."""

    step: timedelta
    anchor: datetime = EPOCH

    def __post_init__(self) -> None:
        if self.step < timedelta(seconds=1):
            raise InvalidInput("every", "must be at least 1s")

    def next(self, after: datetime) -> datetime | None:
        """The first fire strictly after an aware instant, in UTC; None at the end of the calendar."""
        try:
            return self.anchor + ((instant("after", after) - self.anchor) // self.step + 1) * self.step
        except OverflowError:
            return None

    def slot(self, at: datetime) -> datetime | None:
        """The last fire at or before an aware instant, in UTC; None before the calendar begins."""
        try:
            return self.anchor + (instant("at", at) - self.anchor) // self.step * self.step
        except OverflowError:
            return None

    def words(self) -> str:
        """In plain English."""
        since = "" if self.anchor == EPOCH else f", counted from {self.anchor:%Y-%m-%d %H:%M:%S} UTC"
        return f"every {length(self.step)}{since}"


@dataclass(frozen=True)
class Once:
    """One fire."""

    at: datetime

    def next(self, after: datetime) -> datetime | None:
        """The fire, if it comes after an aware instant."""
        return self.at if instant("after", after) < self.at else None

    def slot(self, at: datetime) -> datetime | None:
        """The fire, if it came by an aware instant."""
        return self.at if self.at <= instant("at", at) else None

    def words(self) -> str:
        """In plain English."""
        return f"once, at {self.at:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True)
class Manual:
    """No fire at all."""

    def next(self, after: datetime) -> datetime | None:
        """None."""
        return None

    def slot(self, at: datetime) -> datetime | None:
        """None."""
        return None

    def words(self) -> str:
        """In plain English."""
        return "only when it is run by hand"
