"""``tidemill worker``: runs jobs and fires schedules."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click
import structlog

from tidemill import logging
from tidemill.app import Rooms, Tidemill
from tidemill.cli.application import app_option, load_app, queue_option, read_queues
from tidemill.cli.fleet import Fleet, this_command
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import Stop, run_async, spare_the_collector, stopping
from tidemill.postgres import database_url
from tidemill.settings import Settings

_log = structlog.get_logger("tidemill.cli")


@click.command(epilog="Example: tidemill worker --app shop.jobs:app --queue default=50")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    help="Accounts that each process syncs side by side. [default: TIDEMILL_SYNC_ACCOUNTS_AT_ONCE, 40]",
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes to run.")
@app_option
@queue_option
@click.option("--no-syncs", is_flag=True, help="Run only the jobs of --app; no key and no provider needs to be set.")
@click.option("--no-schedule", is_flag=True, hidden=True, help="Do not declare schedules.")
@pass_options
def worker(
    options: Options,
    concurrency: int | None,
    processes: int,
    app_name: str | None,
    queues: tuple[str, ...],
    no_syncs: bool,
    no_schedule: bool,
) -> int:
    """Run jobs and fire schedules until stopped.

    SIGTERM or Ctrl-C stops gracefully: nothing more is claimed, running jobs get 25 seconds, the rest is given back.
    """
    app, settings = load_app(app_name, options)
    logging.configure(settings.log_format)
    wanted = Work(queues=read_queues(queues), accounts_at_once=concurrency, syncs=not no_syncs)
    if processes == 1:
        return run_async(_one(app, wanted, declare=not no_schedule))
    arguments = [f"--queue={queue}" for queue in queues] + ["--no-syncs"] * no_syncs
    if app_name:
        arguments.append(f"--app={app_name}")
    if concurrency:
        arguments.append(f"--concurrency={concurrency}")
    return run_async(_many(app, settings, options, wanted, processes, arguments, declare=not no_schedule))


@dataclass(frozen=True, slots=True)
class Work:
    """What one process takes on; no queues means all."""

    queues: Mapping[str, int] = field(default_factory=dict[str, int])
    accounts_at_once: int | None = None
    syncs: bool = True


async def work(rooms: Rooms, stop: asyncio.Event, wanted: Work) -> None:
    """A worker in this process until ``stop`` is set."""
    async with rooms.worker(queues=wanted.queues or None, accounts_at_once=wanted.accounts_at_once) as running:
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
                at_once = wanted.accounts_at_once or rooms.settings.sync_accounts_at_once
                _log.info("worker_started", pid=os.getpid(), node=running.node.id, accounts_at_once=at_once)
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            running.stop()
            await task
            _log.info("worker_stopped", pid=os.getpid())
        finally:
            for each in watched:
                each.cancel()


async def _one(app: Tidemill, wanted: Work, *, declare: bool) -> int:
    with stopping() as stop:
        async with app.open(syncs=wanted.syncs, name="tidemill worker") as rooms:
            if declare:
                await rooms.declare_schedules()
            await work(rooms, stop, wanted)
        return stop.code


async def _many(
    app: Tidemill,
    settings: Settings,
    options: Options,
    wanted: Work,
    processes: int,
    arguments: Sequence[str],
    *,
    declare: bool,
) -> int:
    with stopping() as stop:
        async with database_url(settings):  # kept for the children: an embedded server outlives a restart of all
            # What a child would fail of, this process fails of first, in one place.
            async with app.open(syncs=wanted.syncs, name="tidemill fleet") as rooms:
                if declare:
                    await rooms.declare_schedules()
            return await _run_fleet(options, stop, processes, arguments)


async def _run_fleet(options: Options, stop: Stop, processes: int, arguments: Sequence[str]) -> int:
    before, environ = options.for_child()
    command = this_command(*before, "worker", "--processes", "1", "--no-schedule", *arguments)
    return await Fleet(command, processes, stop, environ).run() or stop.code
