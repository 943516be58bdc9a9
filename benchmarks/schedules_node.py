"""A node of the schedule benchmark, a process of its own: at every line it reads it ticks until nothing is due."""

from __future__ import annotations

import sys

from benchmarks.schedules_world import engine_of, until_none_is_due
from tidemill.cli.running import run_async, spare_the_collector
from tidemill.engine.schedules import Schedules
from tidemill.postgres import Database


async def work(url: str) -> None:
    """Until there are no more lines."""
    async with await Database.open(url, max_size=2, name="benchmark node") as db:
        schedules = Schedules(db, engine_of(db))
        spare_the_collector()
        print("ready", flush=True)
        for _ in sys.stdin:
            await until_none_is_due(schedules)
            print("done", flush=True)


if __name__ == "__main__":
    run_async(work(sys.argv[1]))
