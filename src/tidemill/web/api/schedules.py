"""``/schedules/preview`` and ``/providers``."""

from __future__ import annotations

from datetime import datetime

from tidemill.engine.recurrence import read_zone
from tidemill.postgres import Connection, Statements
from tidemill.sync.jobs.schedule import fires_of, read_schedule
from tidemill.web.api.call import Answer, Call
from tidemill.web.api.models import Fires, Preview, Provider
from tidemill.web.api.paging import check_instant
from tidemill.web.api.providers import Providers
from tidemill.web.api.roles import as_engine
from tidemill.web.api.route import Route

__all__ = ["ProviderRoutes", "ScheduleRoutes", "company_zone"]

_SQL = Statements("tidemill.web.api.sql")


async def company_zone(conn: Connection) -> str | None:
    """The zone of the caller's company; None where it has none."""
    return await conn.fetchval(_SQL.company_zone)


class ScheduleRoutes:
    """Says what a schedule means before it is written."""

    async def preview(self, conn: Connection, call: Call) -> Answer:
        """In words, and its next fires."""
        wanted: Preview = call.body
        if wanted.timezone:
            read_zone(wanted.timezone)  # here a field of its own, not the company's
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
