"""A worker in an interpreter of its own, to be killed: ``python -m tests.sync.records.worker_process URL``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence

import structlog
import uvloop

from tests.sync.jobs.support import PROVIDER, world
from tests.sync.records.desk import AT
from tidemill import logging
from tidemill.connectors import Batch, Spec, Stream, Window
from tidemill.connectors import Context as ReadContext
from tidemill.postgres import Database
from tidemill.sync.records import RepairRecords, ReplayRecords, SyncRecords

LEASE_S = 4.0
BATCHES, SIZE = 30, 40
KEYED = Stream(name="keyed", key=("id",), cursor="n")
KEYLESS = Stream(name="keyless", key=(), cursor="n")


class Steady:
    """Both streams give the same batches to everybody; only every third moves the cursor."""

    spec = Spec(name=PROVIDER, title="Steady")

    async def streams(self, ctx: ReadContext) -> Sequence[Stream]:
        return [KEYED, KEYLESS]

    async def check(self, ctx: ReadContext) -> None: ...

    async def read(self, ctx: ReadContext, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        for n in range(int(cursor or 0), BATCHES):
            records = [{"id": n * SIZE + i, "same": i % 3} for i in range(SIZE)]
            if stream == "keyless":
                records = [{"same": r["same"], "third": n // 3} for r in records]
            yield Batch(records=records, observed_at=AT, cursor_after=str(n + 1) if n % 3 == 2 else None)
            await asyncio.sleep(0.02)


async def work(url: str) -> None:
    types = (SyncRecords(), ReplayRecords(), RepairRecords())
    async with (
        await Database.open(url, name="victim") as db,
        world(db, *types, connectors={PROVIDER: Steady()}) as w,
        w.working(lease_ttl=LEASE_S) as worker,
    ):
        structlog.get_logger("tests").info("ready", node=worker.node.id)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.configure("json")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(sys.argv[1]))
