"""``tidemill up``: everything in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import click

from tidemill import logging
from tidemill.app import Tidemill
from tidemill.cli.application import app_option, load_app
from tidemill.cli.metrics import Address, metrics_option
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import Stop, run_async, stopping
from tidemill.cli.serve import host_option, listen, port_option
from tidemill.cli.worker import Work, work
from tidemill.web.functions.cron_auth import CronSecret


@click.command(epilog="Example: tidemill up --port 8787")
@host_option
@port_option
@app_option
@metrics_option
@pass_options
def up(options: Options, host: str, port: int, app_name: str | None, metrics: Address | None) -> int:
    """Run a worker, the functions server and the schedule in one process.

    Without TIDEMILL_DATABASE_URL it brings its own Postgres, in .tidemill.
    """
    app, settings = load_app(app_name, options)
    logging.configure(settings.log_format)
    CronSecret(settings)
    return run_async(_up(app, host, port, metrics))


async def _up(app: Tidemill, host: str, port: int, metrics: Address | None) -> int:
    with stopping() as stop:
        async with app.open(syncs=True, name="tidemill up") as rooms:
            await rooms.declare_schedules()
            async with asyncio.TaskGroup() as running:
                running.create_task(_then_stop(listen(rooms, stop, host=host, port=port), stop))
                running.create_task(_then_stop(work(rooms, stop, Work(metrics=metrics)), stop))
        return stop.code


async def _then_stop(room: Coroutine[Any, Any, None], stop: Stop) -> None:
    """Neither goes on without the other."""
    try:
        await room
    finally:
        stop.set()
