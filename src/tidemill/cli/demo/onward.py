"""After the summary: the clocks are let go, and both companies' schedules take over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from tidemill.app import SCHEDULED_SYNC
from tidemill.cli.console import utc
from tidemill.cli.demo.company import STREAM, Company
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.stage import Stage
from tidemill.cli.demo.statements import SQL
from tidemill.postgres import Listener

_LOOK_S = 1.0


async def go_on(stage: Stage, company: Company | None, narrator: Narrator) -> None:
    """Sync on schedule and tell of each run, until cancelled."""
    db = stage.app.db
    await db.execute("select tidemill.reset_clock()")
    await stage.simulator.set_clock(datetime.now(UTC), freeze=False)
    await stage.app.declare_schedules()
    closed: asyncio.Queue[str] = asyncio.Queue(maxsize=100)
    listener = Listener(stage.app.url)
    listener.on("tidemill_run", lambda run: None if not run or closed.full() else closed.put_nowait(run))
    await listener.start()
    try:
        next_at = await db.fetchval(SQL.next_fire, SCHEDULED_SYNC)
        narrator.say(f"\nIt goes on by itself: the accounts every 15 minutes, next at {utc(next_at)}.")
        if company is not None:
            narrator.say("The tap runs every minute, and after each run a day more of weather is in its file.")
        narrator.say("Ctrl-C ends it.")
        async with asyncio.TaskGroup() as telling:
            telling.create_task(_tell_accounts(stage, closed, narrator))
            if company is not None:
                telling.create_task(_tell_tap(company, narrator))
    finally:
        await listener.close()


async def _tell_accounts(stage: Stage, closed: asyncio.Queue[str], narrator: Narrator) -> None:
    while True:
        row = await stage.app.db.fetchrow(SQL.run_line, UUID(await closed.get()))
        if row is not None:
            narrator.done(
                "sync",
                f"slot {row['slot']:%H:%M}Z: {row['status']}, {row['success']} completed, "
                f"{row['error']} with errors, {row['skipped']} skipped",
            )


async def _tell_tap(company: Company, narrator: Narrator) -> None:
    told = {run.id for run in await company.runs()}
    while True:
        await asyncio.sleep(_LOOK_S)
        for run in await company.runs():
            if run.finished_at is not None and run.id not in told:
                told.add(run.id)
                narrator.done(STREAM, f"{run.started_at:%H:%M}Z: {run.told(len(company.weather.rows))}")
                company.weather.grow()
