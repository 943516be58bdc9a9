"""Local time and real time: what daylight saving does to a recurrence, and the last fire found by asking for the next.

Local times are naive datetimes, instants are aware ones in UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from zoneinfo import ZoneInfo

from tidemill.errors import InvalidInput

TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

Match = Callable[[datetime], datetime | None]
"""The first matching local time at or after one, whether or not it exists in the zone; None when none follows."""


def read_zone(name: object) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        InvalidInput: naming ``timezone``.
    """
    try:
        return ZoneInfo(name) if isinstance(name, str) else _refuse_zone(name)
    except (KeyError, ValueError, OSError):
        # KeyError: unknown; ValueError: not a relative path (or NUL bytes); OSError: a folder such as "America".
        return _refuse_zone(name)


def _refuse_zone(name: object) -> NoReturn:
    raise InvalidInput("timezone", f"{str(name)[:100]!r} is not an IANA time zone, such as Europe/Berlin") from None


def instant(name: str, at: datetime) -> datetime:
    """An aware instant, in UTC.

    Raises:
        InvalidInput: naming ``name``, when it has no time zone.
    """
    if at.tzinfo is None:
        raise InvalidInput(name, f"{at} has no time zone")
    return at.astimezone(UTC)


def read_instant(name: str, value: object, zone: ZoneInfo) -> datetime:
    """An ISO 8601 date and time, in UTC; one without an offset is local time in ``zone``.

    Raises:
        InvalidInput: naming ``name``.
    """
    at = read_datetime(name, value)
    try:
        return at.astimezone(UTC) if at.tzinfo else first_occurrence(zone, at)
    except OverflowError:
        raise InvalidInput(name, f"{value!r} is beyond the calendar") from None


def read_local(name: str, value: object, zone: ZoneInfo) -> datetime:
    """An ISO 8601 date and time as local time in ``zone``, in whole seconds.

    Raises:
        InvalidInput: naming ``name``.
    """
    at = read_datetime(name, value).replace(microsecond=0)
    try:
        return wall(zone, at) if at.tzinfo else at
    except OverflowError:
        raise InvalidInput(name, f"{value!r} is beyond the calendar") from None


def read_datetime(name: str, value: object) -> datetime:
    """An ISO 8601 date and time, with or without an offset.

    Raises:
        InvalidInput: naming ``name``; a date alone is refused, for it does not say which end of the day is meant.
    """
    if isinstance(value, str) and len(value) <= 40 and ":" in value:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise InvalidInput(name, f"{str(value)[:50]!r} is not a date and time such as 2026-05-04T09:00:00+02:00")


def wall(zone: ZoneInfo, at: datetime) -> datetime:
    """What the clocks on the wall show at an instant."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def first_occurrence(zone: ZoneInfo, local: datetime) -> datetime:
    """The first instant of a local time; for one that a change skips, the first valid instant after it."""
    at = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall(zone, at) == local:
        return at
    # In a gap, fold=0 reads with the offset before the change and so lands past it; fold=1 lands before it.
    return _change(zone, local.replace(tzinfo=zone, fold=1).astimezone(UTC), at)


def next_wall(zone: ZoneInfo, match: Match, after: datetime) -> datetime | None:
    """The first fire after ``after`` of what fires once per local time.

    Local times that a change skips come together at the first valid instant after it; one that repeats fires at its
    first occurrence.
    """
    local = wall(zone, after)
    # Later local times never have earlier instants, so the first one past `after` is it.
    while (found := match(local + TICK)) is not None:
        local = found
        if (at := first_occurrence(zone, local)) > after:
            return at
    return None


def next_elapsed(zone: ZoneInfo, match: Match, after: datetime) -> datetime | None:
    """The first instant after ``after`` whose local time matches: in both passes of a time that repeats.

    A skipped time adds nothing.
    """
    # Walk real time forward, at most a day at a stride, and look again at each change of the offset. No change moves
    # clocks by more than a day. So one met after the first day cannot lead back to before `here`, nor one met two days
    # ahead of the target reach it: what lies between can be leapt over.
    now = after
    target = match(wall(zone, now) + TICK)
    while target is not None:
        here = wall(zone, now)
        stride = min(target - here, DAY)
        end = now + stride
        if wall(zone, end) - here != stride:
            now = _change(zone, now, end)
            target = match(wall(zone, now))
        elif stride == target - here:
            return end
        else:
            now = end + max(target - here - 3 * DAY, timedelta(0))
    return None


def last_fire(following: Callable[[datetime], datetime | None], at: datetime) -> datetime | None:
    """The last fire at or before ``at``, where ``following`` answers the first one strictly after an instant."""
    back = SECOND
    try:
        while (fire := following(at - back)) is None or fire > at:
            back *= 2
    except OverflowError:
        return None
    # Fires lie in [fire, at]: halve that until nothing is left after the one we have.
    end = at
    while fire < end:
        middle = fire + (end - fire) / 2
        if (later := following(middle)) is not None and later <= at:
            fire = later
        elif (later := following(fire)) is None or later > at:
            break
        else:
            end = middle
    return fire


def _change(zone: ZoneInfo, before: datetime, end: datetime) -> datetime:
    """The instant in (before, end], in whole seconds, at which the offset that rules ``before`` gives way."""
    before = before.replace(microsecond=0)
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, -((before - end) // SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if (before + middle * SECOND).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + high * SECOND
