"""The API: its table of routes, mounted on a server."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from tidemill.postgres import Database
from tidemill.sync.jobs import JobType
from tidemill.sync.jobs.checks import Checks
from tidemill.vault import Vault
from tidemill.web.api.checks import CheckRoutes
from tidemill.web.api.connectors import ConnectorRoutes
from tidemill.web.api.door import READS, WRITES, Door
from tidemill.web.api.notifications import NotificationRoutes
from tidemill.web.api.openapi import describe
from tidemill.web.api.providers import Providers
from tidemill.web.api.route import PREFIX, Route
from tidemill.web.api.runs import RecordRoutes, RunRoutes
from tidemill.web.api.schedules import ProviderRoutes, ScheduleRoutes
from tidemill.web.api.sync_jobs import SyncJobRoutes
from tidemill.web.jwt import Verifier
from tidemill.web.rate_limit import RateLimit

__all__ = ["Api"]


class Api:
    """The tenants' JSON API.

    Args:
        providers: connectors that this process knows; a connector of another provider is refused.
        vault: seals credentials; without it none are taken.
        checks: carries out checks of connectors; without it there are none.
        job_types: types of sync jobs whose payloads can be judged here; others are left to workers that know them.
        reads, writes: how often one user may call.
    """

    def __init__(
        self,
        providers: Providers,
        vault: Vault | None,
        *,
        checks: Checks | None = None,
        job_types: Mapping[str, JobType] | None = None,
        reads: RateLimit = READS,
        writes: RateLimit = WRITES,
    ) -> None:
        self._reads, self._writes = reads, writes
        self.routes: tuple[Route, ...] = (
            *ConnectorRoutes(providers, vault).routes(),
            *CheckRoutes(checks).routes(),
            *SyncJobRoutes(job_types or {}).routes(),
            *RunRoutes().routes(),
            *RecordRoutes().routes(),
            *NotificationRoutes().routes(),
            *ScheduleRoutes().routes(),
            *ProviderRoutes(providers).routes(),
        )
        self._document = msgspec.json.encode(describe(self.routes))

    def mount(self, app: web.Application, db: Database, verifier: Verifier | None) -> None:
        """Add the routes, and the OpenAPI document, which anybody may read."""
        door = Door(db=db, verifier=verifier, reads=self._reads, writes=self._writes)
        for route in self.routes:
            app.router.add_route(route.method, PREFIX + route.path, door.handler(route))
        app.router.add_route("GET", f"{PREFIX}/openapi.json", self._openapi)

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json", charset="utf-8")
