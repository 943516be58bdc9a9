"""The command: raises the stage, plays three ticks, tells what came of them, goes on if asked to."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from tidemill.cli.console import json_option, print_json
from tidemill.cli.demo import audit, summary
from tidemill.cli.demo.connect import connect_accounts
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.onward import go_on
from tidemill.cli.demo.stage import Plan, raised
from tidemill.cli.demo.ticks import TICKS, play, slots
from tidemill.cli.exits import Exit
from tidemill.cli.options import DEMO, Options, pass_options
from tidemill.cli.running import run_async, stopping


@click.command(epilog="Example: tidemill demo --once")
@click.option("--once", is_flag=True, help="End after the summary; exit 1 if it does not add up.")
@json_option
@pass_options
def demo(options: Options, once: bool, as_json: bool) -> int:
    """Sync 60 simulated accounts, three times, on an embedded Postgres; nothing leaves this machine.

    Some accounts are broken on purpose, so the runs end "partial". What an earlier demo left behind is removed first.
    The data stays in .tidemill/demo; TIDEMILL_DATABASE_URL is not touched (--database-url takes a database of its own).
    """
    if as_json and not once:
        raise click.UsageError("--json needs --once.")
    folder = options.data_dir or Path(".tidemill") / DEMO
    return run_async(_demo(Plan(folder, options.database_url), once=once, as_json=as_json))


async def _demo(plan: Plan, *, once: bool, as_json: bool) -> int:
    with stopping() as stop:
        playing = asyncio.create_task(_play(plan, once=once, as_json=as_json), name="demo")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({playing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                playing.cancel()
                await asyncio.wait({playing})
        finally:
            stopped.cancel()
            if not playing.done():
                playing.cancel()
    if playing.cancelled():
        return stop.code
    return playing.result()


async def _play(plan: Plan, *, once: bool, as_json: bool) -> int:
    narrator = Narrator(to_stderr=as_json)
    narrator.open()
    began = time.monotonic()
    times = slots(TICKS)
    async with raised(plan, times[0], narrator) as stage:
        cast = await connect_accounts(stage, narrator)
        calls_before = await stage.simulator.calls()
        runs = [await play(stage, narrator, number, slot) for number, slot in enumerate(times, 1)]
        calls = await stage.simulator.calls()
        told = await summary.read(stage.app.db, runs, calls, calls_before, time.monotonic() - began)
        problems = await audit.problems(stage.app.db, told, cast)
        if as_json:
            print_json({**summary.as_json(told), "problems": problems})
        else:
            summary.show(narrator, told, cast, plan)
        for problem in problems:
            narrator.complain(problem)
        if not once:
            await go_on(stage, narrator)
    return Exit.NOT_WELL if problems else Exit.OK
