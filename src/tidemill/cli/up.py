"""``tidemill up``: everything in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import click

from tidemill import logging
from tidemill.app import Tidemill
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import Stop, run_async, stopping
from tidemill.cli.serve import host_option, listen, port_option
from tidemill.cli.worker import work
from tidemill.settings import Settings
from tidemill.web.functions.cron_auth import CronSecret


@click.command(epilog="Example: tidemill up --port 8787")
@host_option
@port_option
@pass_options
def up(options: Options, host: str, port: int) -> int:
    """Run a worker, the functions server and the schedule in one process.

    Without TIDEMILL_DATABASE_URL it brings its own Postgres, in .tidemill.
    """
    settings = options.settings()
    logging.configure(settings.log_format)
    CronSecret(settings)
    return run_async(_up(settings, host, port))


async def _up(settings: Settings, host: str, port: int) -> int:
    with stopping() as stop:
        async with Tidemill.open(settings, name="tidemill up") as app:
            await app.declare_schedules()
            async with asyncio.TaskGroup() as rooms:
                rooms.create_task(_then_stop(listen(app, stop, host=host, port=port), stop))
                rooms.create_task(_then_stop(work(app, stop, None), stop))
        return stop.code


async def _then_stop(room: Coroutine[Any, Any, None], stop: Stop) -> None:
    """Neither goes on without the other."""
    try:
        await room
    finally:
        stop.set()
