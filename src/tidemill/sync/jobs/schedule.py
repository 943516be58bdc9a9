"""A sync job's schedule, whoever wrote it and whoever asks: read, and told in fires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from tidemill.engine import Plan
from tidemill.engine.recurrence import recurrence
from tidemill.engine.recurrence.plan import ON_TIME
from tidemill.errors import InvalidInput
from tidemill.sync.jobs.written import below, decoded

__all__ = ["fires_of", "next_fire", "read_schedule"]

MOST_PLANS = 10_000
"""Different schedules that a process keeps as it has read them; 1.5 kB each."""
_LONGEST_KEPT = 500
"""Characters of a schedule that is kept: tenants may write long ones, and few do."""


def read_schedule(schedule: str | Mapping[str, Any], zone: str | None) -> Plan:
    """A schedule, as an object or as its JSON.

    Local times are in its own zone, else in ``zone``, the company's, else in UTC.

    Raises:
        InvalidInput: naming the key that was written, as ``schedule.cron``; the part of an expression or a rule stands
            in the message. ``company.timezone`` where that is at fault.
    """
    if not isinstance(schedule, str):
        return _plan(schedule, zone)
    return _kept(schedule, zone) if len(schedule) <= _LONGEST_KEPT else _read(schedule, zone)


def _read(text: str, zone: str | None) -> Plan:
    return _plan(decoded("schedule", text), zone)


_kept = lru_cache(maxsize=MOST_PLANS)(_read)


def _plan(written: object, zone: str | None) -> Plan:
    try:
        return recurrence(cast("Mapping[str, Any]", written), zone or "UTC")
    except InvalidInput as e:
        if not isinstance(written, Mapping):
            raise
        keys = {str(key)[:50] for key in cast("Mapping[object, Any]", written)}  # as a refusal names them
        if e.field in keys:
            raise below("schedule", e) from None
        # A cron expression's fields and a rule's parts have names of their own, of which the row knows nothing.
        key = next((key for key in ("cron", "rrule") if key in keys), None)
        if e.field == "timezone" or key is None:
            raise below("company" if e.field == "timezone" else "schedule", e) from None
        raise InvalidInput(f"schedule.{key}", str(e)) from None


def next_fire(plan: Plan, planned: datetime | None, now: datetime) -> datetime | None:
    """The fire that a row waits for; what was ``planned`` stands while it is still one and none comes before it.

    A single fire that came while its row waited to be planned is not lost.
    """
    following = plan.next(now)
    if planned is not None and (planned <= now or planned == following) and plan.slot(planned) == planned:
        return planned
    if following is None and (last := plan.slot(now)) is not None and now - last <= ON_TIME:
        return last
    return following


def fires_of(plan: Plan, after: datetime, count: int) -> list[datetime]:
    """The next fires, at most ``count``, each with the zone's offset then."""
    fires: list[datetime] = []
    while len(fires) < count and (fire := plan.next(after)) is not None:
        fires.append(fire.astimezone(plan.zone))
        after = fire
    return fires
