"""Contender: Tidemill. One worker process; the figure is from the trigger to the closed log row."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any
from uuid import uuid4

import aiohttp

from benchmarks.world import World
from tidemill.app import Rooms
from tidemill.cli.running import spare_the_collector
from tidemill.postgres import pool


class Count:
    """Statements sent to Postgres."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, record: Any) -> None:
        self.n += 1


def count_statements() -> Count:
    """Have every new connection count what it is asked (BEGIN and COMMIT too)."""
    count, connect = Count(), pool.connect

    async def counted(*args: Any, **kwargs: Any) -> Any:
        conn: Any = await connect(*args, **kwargs)
        conn.add_query_logger(count)
        return conn

    pool.connect = counted  # type: ignore[assignment]
    return count


async def run(world: World, ticks: int, *, counted: bool) -> dict[str, Any]:
    """The given number of ticks; seconds of the last, and statements if they are to be counted."""
    # Counting costs a few per cent, so it has a tick of its own, after the one that is timed.
    count = Count()
    if counted:
        count = count_statements()
    async with Rooms.open(world.settings()) as app, app.worker() as worker, aiohttp.ClientSession() as http:
        spare_the_collector()
        task = asyncio.create_task(worker.run())
        await worker.started.wait()
        figures: dict[str, Any] = {}
        for _ in range(ticks):
            await world.advance(http, app)
            before, calls = count.n, await _calls(http, world)
            started = time.perf_counter()
            triggered = await app.sync.trigger_scheduled(trigger="bench", request_key=str(uuid4()))
            assert not triggered.skipped, triggered
            state = await app.sync.wait(triggered.run_id, 1200)
            seconds = time.perf_counter() - started
            assert state is not None
            assert state.status == "completed", (state.status, state.results[:3])
            figures = {
                "seconds": round(seconds, 3),
                "calls": await _calls(http, world) - calls,
                "statements_per_account": round((count.n - before) / state.total_accounts, 1),
            }
        worker.stop()
        await task
    figures["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return figures


async def _calls(http: aiohttp.ClientSession, world: World) -> int:
    async with http.get(f"{world.simulator_url}/_sim/calls") as answer:
        return (await answer.json())["total"]


if __name__ == "__main__":
    import uvloop

    from tidemill import logging

    logging.configure("json", level="warning", stream=sys.stderr)
    print(
        json.dumps(uvloop.run(run(World.from_json(sys.argv[1]), int(sys.argv[3]), counted=sys.argv[4:] == ["counted"])))
    )
