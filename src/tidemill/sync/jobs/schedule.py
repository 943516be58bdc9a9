"""A sync job's schedule, as a person wrote it: judged before it is written, and told in fires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tidemill.engine.recurrence import Plan, recurrence
from tidemill.errors import InvalidInput

__all__ = ["fires_of", "read_schedule"]


def read_schedule(schedule: Mapping[str, Any], zone: str | None) -> Plan:
    """A schedule, in ``zone`` where it names none, else in UTC.

    Raises:
        InvalidInput: naming ``schedule.…``; the part of a cron expression or a rule stands in the message.
    """
    if zone is not None and "timezone" not in schedule:
        recurrence({}, zone)  # its trouble is the zone's, not the schedule's
    try:
        return recurrence(schedule, zone or "UTC")
    except InvalidInput as error:
        # A cron expression's fields and a rule's parts have names of their own; the key is what the caller can mend.
        key = next((key for key in ("cron", "rrule") if key in schedule), None)
        if error.field not in schedule and key is not None:
            raise InvalidInput(f"schedule.{key}", str(error)) from None
        raise InvalidInput(f"schedule.{error.field}", str(error).removeprefix(f"{error.field}: ")) from None


def fires_of(plan: Plan, after: datetime, count: int) -> list[datetime]:
    """The next fires, at most ``count``, each with the zone's offset then."""
    fires: list[datetime] = []
    while len(fires) < count and (fire := plan.next(after)) is not None:
        fires.append(fire.astimezone(plan.zone))
        after = fire
    return fires
