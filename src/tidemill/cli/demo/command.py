"""The command: raises the stage, plays three ticks and two runs of a tap, tells what came of it, goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from tidemill.cli.console import json_option, print_json
from tidemill.cli.demo import audit, summary
from tidemill.cli.demo.company import Company
from tidemill.cli.demo.connect import connect_accounts
from tidemill.cli.demo.harvest import Harvest
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.onward import go_on
from tidemill.cli.demo.stage import Plan, Stage, raised
from tidemill.cli.demo.tap import NAME as TAP
from tidemill.cli.demo.tap import installing
from tidemill.cli.demo.ticks import TICKS, play, slots
from tidemill.cli.demo.weather import Weather
from tidemill.cli.exits import Exit, NotWell
from tidemill.cli.options import DEMO, Options, pass_options
from tidemill.cli.running import run_async, stopping

_WORTH_TELLING_S = 1.0


@click.command(epilog="Example: tidemill demo --once")
@click.option("--once", is_flag=True, help="End after the summary; exit 1 if it does not add up.")
@json_option
@pass_options
def demo(options: Options, once: bool, as_json: bool) -> int:
    """Sync two companies' accounts on an embedded Postgres; nothing of it leaves this machine.

    One has 60 simulated accounts, of which some are broken on purpose, so that the runs end "partial". The other's job
    runs a Singer tap on real data, every minute; tap and data are installed from the package index, once.

    What an earlier demo left behind is removed first. The data stays in .tidemill/demo; TIDEMILL_DATABASE_URL is not
    touched (--database-url takes a database of its own).
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
    async with installing(plan.tap) as installed, raised(plan, times[0], narrator) as stage:
        cast = await connect_accounts(stage, narrator)
        calls_before = await stage.simulator.calls()
        runs = [await play(stage, narrator, number, slot) for number, slot in enumerate(times, 1)]
        calls = await stage.simulator.calls()
        company, problems = await _harvested(stage, plan, installed, narrator)
        harvest = await Harvest.read(company) if company else None
        told = await summary.read(stage.app.db, runs, calls, calls_before, time.monotonic() - began)
        problems += await audit.problems(stage.app.db, told, cast)
        if company and harvest:
            problems += await audit.harvest_problems(company, harvest)
        if as_json:
            print_json({**summary.as_json(told), "tap": harvest and harvest.as_json(), "problems": problems})
        else:
            summary.show(narrator, told, cast, harvest)
            summary.show_where(narrator, plan)
        for problem in problems:
            narrator.complain(problem)
        if not once:
            await go_on(stage, company, narrator)
    return Exit.NOT_WELL if problems else Exit.OK


async def _harvested(
    stage: Stage, plan: Plan, installed: asyncio.Task[None], narrator: Narrator
) -> tuple[Company | None, list[str]]:
    """The company whose tap has run twice, or why there is none: the rest is as good without it."""
    began = time.monotonic()
    try:
        if not installed.done():
            narrator.done("tap", f"{TAP} is still being installed from the package index, once")
            with narrator.progress("tap"):
                await asyncio.wait({installed})
        await installed
    except NotWell as e:
        return None, [f"{e}; its company is left out"]
    if (waited := time.monotonic() - began) >= _WORTH_TELLING_S:
        narrator.done("tap", f"installed in {plan.tap.folder}, waited for {waited:.1f} s")
    weather = Weather(plan.tap.data, plan.folder.resolve() / "weather.csv")
    weather.begin()
    company = await Company.make(stage, weather)
    # The second run shows that nothing comes twice.
    for _ in range(2):
        await company.run(narrator)
    return company, []
