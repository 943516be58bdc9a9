"""After the three ticks: the clocks are let go, and the built-in schedule takes over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from tidemill.app import SCHEDULED_SYNC
from tidemill.cli.console import utc
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.stage import Stage
from tidemill.cli.demo.statements import SQL
from tidemill.postgres import Listener


async def go_on(stage: Stage, narrator: Narrator) -> None:
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
        narrator.say(f"\nIt goes on by itself, every 15 minutes; next at {utc(next_at)}. Ctrl-C ends it.")
        while True:
            row = await db.fetchrow(SQL.run_line, UUID(await closed.get()))
            if row is not None:
                narrator.done(
                    "sync",
                    f"slot {row['slot']:%H:%M}Z: {row['status']}, {row['success']} completed, "
                    f"{row['error']} with errors, {row['skipped']} skipped",
                )
    finally:
        await listener.close()
