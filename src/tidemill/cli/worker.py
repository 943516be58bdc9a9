"""``tidemill worker``: runs jobs and fires schedules."""

from __future__ import annotations

import asyncio
import os

import click
import structlog

from tidemill import logging
from tidemill.app import Tidemill
from tidemill.cli.fleet import Fleet, this_command
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import Stop, run_async, spare_the_collector, stopping
from tidemill.postgres import database_url
from tidemill.settings import Settings

_log = structlog.get_logger("tidemill.cli")


@click.command(epilog="Example: tidemill worker --concurrency 20 --processes 2")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    help="Accounts that each process syncs side by side. [default: TIDEMILL_SYNC_ACCOUNTS_AT_ONCE, 20]",
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes to run.")
@click.option("--no-schedule", is_flag=True, hidden=True, help="Do not declare the built-in schedule.")
@pass_options
def worker(options: Options, concurrency: int | None, processes: int, no_schedule: bool) -> int:
    """Run jobs and fire schedules until stopped.

    SIGTERM or Ctrl-C stops gracefully: nothing more is claimed, running jobs get 25 seconds, the rest is given back.
    """
    settings = options.settings()
    logging.configure(settings.log_format)
    if processes == 1:
        return run_async(_one(settings, concurrency, declare=not no_schedule))
    return run_async(_many(settings, options, concurrency, processes, declare=not no_schedule))


async def work(app: Tidemill, stop: asyncio.Event, concurrency: int | None) -> None:
    """A worker in this process until ``stop`` is set."""
    async with app.worker(accounts_at_once=concurrency) as running:
        spare_the_collector()
        task = asyncio.create_task(running.run(), name="worker")
        watched = {
            task,
            started := asyncio.create_task(running.started.wait()),
            stopped := asyncio.create_task(stop.wait()),
        }
        try:
            await asyncio.wait({task, started, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if started.done() and not task.done():
                at_once = concurrency or app.settings.sync_accounts_at_once
                _log.info("worker_started", pid=os.getpid(), node=running.node.id, accounts_at_once=at_once)
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            running.stop()
            await task
            _log.info("worker_stopped", pid=os.getpid())
        finally:
            for each in watched:
                each.cancel()


async def _one(settings: Settings, concurrency: int | None, *, declare: bool) -> int:
    with stopping() as stop:
        async with Tidemill.open(settings, name="tidemill worker") as app:
            if declare:
                await app.declare_schedules()
            await work(app, stop, concurrency)
        return stop.code


async def _many(settings: Settings, options: Options, concurrency: int | None, processes: int, *, declare: bool) -> int:
    with stopping() as stop:
        async with database_url(settings):  # kept for the children: an embedded server outlives a restart of all
            # What a child would fail of, this process fails of first, in one place.
            async with Tidemill.open(settings, name="tidemill fleet") as app:
                if declare:
                    await app.declare_schedules()
            return await _run_fleet(options, stop, concurrency, processes)


async def _run_fleet(options: Options, stop: Stop, concurrency: int | None, processes: int) -> int:
    arguments, environ = options.for_child()
    command = this_command(*arguments, "worker", "--processes", "1", "--no-schedule")
    if concurrency:
        command += ["--concurrency", str(concurrency)]
    return await Fleet(command, processes, stop, environ).run() or stop.code
