"""The command: looks once, or again and again."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import click
import msgspec
from rich.live import Live

from tidemill.cli.console import json_option, out, print_json, say
from tidemill.cli.exits import Exit
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.status.screen import render, sections, write
from tidemill.cli.status.troubles import troubles
from tidemill.engine.overview import Overview, RecentRuns, overview, recent_runs
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database
from tidemill.settings import Settings

LATELY = timedelta(hours=1)
WATCH_S = 2.0


class _Look(msgspec.Struct, frozen=True):
    """One look at the fleet."""

    well: bool
    troubles: list[str]
    overview: Overview
    runs: RecentRuns


@click.command(epilog="Example: tidemill status --watch=5")
@click.option(
    "--watch",
    metavar="SECONDS",
    is_flag=False,
    flag_value=WATCH_S,
    type=click.FloatRange(0.2, 3600),
    help=f"Look again and again, until Ctrl-C. [default, when given: {WATCH_S:g}]",
)
@click.option(
    "--max-wait",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    help="A job that could be started and waits longer is not well.",
)
@json_option
@pass_options
def status(options: Options, watch: float | None, max_wait: float, as_json: bool) -> int:
    """Workers, queues, the last hour, schedules, locks and blocked scopes on one screen.

    Exit 1 when something is not well, and say what. "10,000+" is where counting stops.
    """
    settings = options.reading()
    if watch is None:
        return run_async(_once(settings, max_wait, as_json))
    return run_async(_again_and_again(settings, watch, max_wait, as_json))


async def _once(settings: Settings, max_wait: float, as_json: bool) -> int:
    async with open_database(settings, name="tidemill status") as db:
        seen = await _look(db, max_wait)
    if _is_for_people(as_json):
        out().print(render(seen.troubles, sections(seen.overview, seen.runs), seen.overview.at))
    else:
        _write(seen, as_json)
    return Exit.OK if seen.well else Exit.NOT_WELL


async def _again_and_again(settings: Settings, every_s: float, max_wait: float, as_json: bool) -> int:
    async with open_database(settings, name="tidemill status") as db:
        if _is_for_people(as_json):
            return await _on_a_terminal(db, every_s, max_wait)
        while True:
            try:
                _write(await _look(db, max_wait), as_json)
                if not as_json:
                    say()
            except DatabaseUnavailable as e:
                click.echo(str(e), err=True)
            sys.stdout.flush()
            await asyncio.sleep(every_s)


async def _on_a_terminal(db: Database, every_s: float, max_wait: float) -> int:
    with Live(console=out(), auto_refresh=False) as live:
        while True:
            try:
                seen = await _look(db, max_wait)
                live.update(render(seen.troubles, sections(seen.overview, seen.runs), seen.overview.at), refresh=True)
            except DatabaseUnavailable as e:
                live.update(str(e), refresh=True)
            await asyncio.sleep(every_s)


def _is_for_people(as_json: bool) -> bool:
    return sys.stdout.isatty() and not as_json


async def _look(db: Database, max_wait: float) -> _Look:
    seen = await overview(db)
    runs = await recent_runs(db, seen.at - LATELY)
    found = troubles(seen, most_wait_s=max_wait)
    return _Look(well=not found, troubles=found, overview=seen, runs=runs)


def _write(seen: _Look, as_json: bool) -> None:
    if as_json:
        print_json(
            {"well": seen.well, "troubles": seen.troubles, **msgspec.to_builtins(seen.overview), "runs": seen.runs}
        )
    else:
        write(seen.troubles, sections(seen.overview, seen.runs), seen.overview.at)
