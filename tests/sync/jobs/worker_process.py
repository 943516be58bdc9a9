"""A worker in an interpreter of its own, to be killed: ``python -m tests.sync.jobs.worker_process URL``.

Its runs thread as many beads as their payload says, each in a commit of its own.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import structlog
import uvloop

from tests.sync.jobs.support import Scripted, world
from tidemill import logging
from tidemill.engine import Done
from tidemill.postgres import Database
from tidemill.sync.jobs import Run

LEASE_S = 4.0


async def thread(run: Run) -> Any:
    """Go on after the last bead that an earlier attempt threaded."""
    beads = run.payload.get("beads", 0)
    for _ in range(beads):
        async with run.transaction() as conn:
            threaded = await conn.fetchval("select count(*) from beads where run = $1", run.id)
            if threaded >= beads:
                break
            await conn.execute("insert into beads (run, n, attempt) values ($1, $2, $3)", run.id, threaded, run.attempt)
        await asyncio.sleep(0.05)
    return Done({"beads": beads})


async def work(url: str) -> None:
    async with (
        await Database.open(url, name="victim") as db,
        world(db, Scripted(thread)) as w,
        w.working(lease_ttl=LEASE_S) as worker,
    ):
        structlog.get_logger("tests").info("ready", node=worker.node.id)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.configure("json")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(sys.argv[1]))
