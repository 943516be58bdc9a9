"""The ticks: both clocks moved on together, then the functions server triggered as pg_cron would."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tidemill.cli.demo.narrator import Narrator, Report
from tidemill.cli.demo.stage import Stage
from tidemill.cli.demo.statements import SQL
from tidemill.cli.exits import NotWell

TICKS = 3
PERIOD = timedelta(minutes=15)
LONGEST_S = 300.0
_POLL_S = 0.15


def slots(count: int, now: datetime | None = None) -> list[datetime]:
    """The last ``count`` quarters of an hour. They lie in the past, so that nothing is ever dated ahead."""
    now = now or datetime.now(UTC)
    last = datetime.fromtimestamp(now.timestamp() // PERIOD.total_seconds() * PERIOD.total_seconds(), UTC)
    return [last - PERIOD * back for back in reversed(range(count))]


async def play(stage: Stage, narrator: Narrator, number: int, slot: datetime) -> UUID:
    """One tick: its run's id, once the run is over.

    Raises:
        NotWell: the server does not start the run, or it does not end.
    """
    began = time.monotonic()
    await stage.simulator.set_clock(slot)
    await stage.app.db.execute("select tidemill.set_clock($1)", slot)
    with narrator.progress(f"sync {number}") as report:
        drawing = asyncio.create_task(_draw(stage, slot, report))
        try:
            async with asyncio.timeout(LONGEST_S):
                state = await _trigger(stage)
        except TimeoutError:
            raise NotWell(f"sync {number} has not ended after {LONGEST_S:.0f} s") from None
        finally:
            drawing.cancel()
    narrator.done(
        f"sync {number}",
        f"slot {slot:%H:%M}Z: {state['status']}, {state['success_count']} completed, "
        f"{state['error_count']} with errors, {state['skipped_count']} skipped, {time.monotonic() - began:.1f} s",
    )
    return UUID(state["run_id"])


async def _trigger(stage: Stage) -> dict[str, Any]:
    """POST as pg_net does, then ask the status address until the run is over."""
    headers = {"Authorization": f"Bearer {stage.secret}"}
    url = f"{stage.functions_url}/functions/v1/scheduled-sync"
    async with stage.simulator.http.post(url, json={}, headers=headers) as response:
        state: dict[str, Any] = await response.json()
    if response.status not in (200, 202) or state.get("reason") in ("already_ran", "already_running"):
        raise NotWell(f"the functions server answers {response.status}: {state}")
    while "completed_at" not in state or state["completed_at"] is None:
        await asyncio.sleep(_POLL_S)
        address = f"{stage.functions_url}/functions/v1/runs/{state['run_id']}"
        async with stage.simulator.http.get(address, headers=headers) as response:
            response.raise_for_status()
            state = await response.json()
    return state


async def _draw(stage: Stage, slot: datetime, report: Report) -> None:
    while True:
        row = await stage.app.db.fetchrow(SQL.progress, slot)
        if row is not None:
            report(row["done"], row["total"])
        await asyncio.sleep(_POLL_S)
