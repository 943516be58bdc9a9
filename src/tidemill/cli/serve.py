"""``tidemill serve``: the functions and the tenants' API."""

from __future__ import annotations

import asyncio

import click
import structlog

from tidemill import logging
from tidemill.app import Rooms
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import run_async, stopping
from tidemill.settings import Settings
from tidemill.sync.jobs import Checks
from tidemill.web import functions
from tidemill.web.api import Api
from tidemill.web.functions.cron_auth import CronSecret

PORT = 8787

_log = structlog.get_logger("tidemill.cli")

host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
port_option = click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 takes a free one."
)


@click.command(epilog="Example: tidemill serve --host 0.0.0.0 --port 8787")
@host_option
@port_option
@pass_options
def serve(options: Options, host: str, port: int) -> int:
    """Serve the functions and the tenants' API.

    The functions are triggers for schedulers and manual syncs for users. /healthz, /readyz and /metrics come with them.

    It needs CRON_SECRET, which callers send as "Authorization: Bearer ...".
    """
    settings = options.settings()
    logging.configure(settings.log_format)
    CronSecret(settings)
    return run_async(_serve(settings, host, port))


async def _serve(settings: Settings, host: str, port: int) -> int:
    with stopping() as stop:
        async with Rooms.open(settings, name="tidemill serve") as app:
            await listen(app, stop, host=host, port=port)
        return stop.code


async def listen(app: Rooms, stop: asyncio.Event, *, host: str, port: int) -> None:
    """The functions and the API in this process until ``stop`` is set."""

    def ready(url: str) -> None:
        _log.info("functions_served", url=url)

    checks = Checks(app.connectors, app.http, app.vault, app.db)
    api = Api(app.connectors, app.vault, checks=checks, job_types=app.sync_jobs.types)
    await functions.serve(app.settings, app.db, app.sync, stop=stop, api=api, host=host, port=port, ready=ready)
