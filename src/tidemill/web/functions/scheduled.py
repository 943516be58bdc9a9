"""``POST /functions/v1/scheduled-sync``: the door that pg_cron, a crontab or any scheduler knocks at."""

from __future__ import annotations

from aiohttp import web

from tidemill.web.edge import request_id
from tidemill.web.functions.cron_auth import CronSecret
from tidemill.web.functions.door import SyncDoor
from tidemill.web.functions.inputs import read_object, refuse_fields, wait_of
from tidemill.web.functions.runs import Runs

__all__ = ["ScheduledSync"]


class ScheduledSync:
    """Starts the scheduled sync for whoever holds the cron secret."""

    def __init__(self, secret: CronSecret, sync: SyncDoor, runs: Runs) -> None:
        self._secret = secret
        self._sync = sync
        self._runs = runs

    async def post(self, request: web.Request) -> web.Response:
        """Check the secret before anything else, then start the slot's run or say why not."""
        self._secret.require(request)
        seconds = wait_of(request)
        refuse_fields(await read_object(request))
        triggered = await self._sync.trigger_scheduled(trigger="http", request_key=f"cron:{request_id(request)}")
        return await self._runs.answer(request, triggered, seconds)
