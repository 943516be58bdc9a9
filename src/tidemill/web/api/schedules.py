"""``/schedules/preview`` and ``/providers``; and how a schedule is judged before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tidemill.engine.recurrence import Plan, recurrence
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Statements
from tidemill.web.api.call import Answer, Call, in_field
from tidemill.web.api.models import Fires, Preview, Provider
from tidemill.web.api.paging import check_instant
from tidemill.web.api.providers import Providers
from tidemill.web.api.roles import as_engine
from tidemill.web.api.route import Route

__all__ = ["ProviderRoutes", "ScheduleRoutes", "company_zone", "fires_of", "read_schedule"]

_SQL = Statements("tidemill.web.api.sql")


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
        raise in_field("schedule", error) from None


def fires_of(plan: Plan, after: datetime, count: int) -> list[datetime]:
    """The next fires, at most ``count``, each with the zone's offset then."""
    fires: list[datetime] = []
    while len(fires) < count and (fire := plan.next(after)) is not None:
        fires.append(fire.astimezone(plan.zone))
        after = fire
    return fires


async def company_zone(conn: Connection) -> str | None:
    """The zone of the caller's company; None where it has none."""
    return await conn.fetchval(_SQL.company_zone)


class ScheduleRoutes:
    """Says what a schedule means before it is written."""

    async def preview(self, conn: Connection, call: Call) -> Answer:
        """In words, and its next fires."""
        wanted: Preview = call.body
        plan = read_schedule(wanted.schedule, wanted.timezone or await company_zone(conn))
        if wanted.after is None:
            async with as_engine(conn):
                after: datetime = await conn.fetchval(_SQL.clock)
        else:
            after = check_instant("after", wanted.after)
        return Answer(Fires(plan.words(), plan.zone.key, fires_of(plan, after, wanted.count)))

    def routes(self) -> list[Route]:
        """Its part of the table."""
        return [
            Route(
                method="POST",
                path="/schedules/preview",
                name="previewSchedule",
                summary="A schedule in words, and when it fires next",
                handler=self.preview,
                takes=Preview,
                gives=Fires,
            )
        ]


class ProviderRoutes:
    """Tells which connectors there are."""

    def __init__(self, providers: Providers) -> None:
        self._providers = [
            Provider(spec.name, spec.title, providers.schema(spec.name), list(spec.secrets))
            for spec in (providers[name].spec for name in sorted(providers))
        ]

    async def list(self, conn: Connection, call: Call) -> Answer:
        """All of them, by name; they are the same for every company."""
        return Answer(self._providers)

    def routes(self) -> list[Route]:
        """Its part of the table."""
        return [
            Route(
                method="GET",
                path="/providers",
                name="listProviders",
                summary="The kinds of source that connectors can be of",
                handler=self.list,
                gives=list[Provider],
            )
        ]
