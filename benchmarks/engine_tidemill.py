"""Contender: Tidemill's engine, one worker process as `tidemill worker` would run it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from benchmarks.peers.protocol import Contender, Handle, main
from tidemill import logging
from tidemill.cli.running import spare_the_collector
from tidemill.engine import Context, Engine, Kind, NewJob, Registry, Worker
from tidemill.postgres import Database, Listener, migrate

CONCURRENCY = 500


class TidemillEngine(Contender):
    async def install(self) -> None:
        await migrate(self.url)

    async def open(self, handle: Handle = lambda _: None) -> None:
        async def noop(_: Context, args: dict[str, Any]) -> None:
            handle(args["number"])

        registry = Registry()
        registry.add(Kind("noop", noop))
        self.engine = Engine(await Database.open(self.url), registry)

    async def close(self) -> None:
        await self.engine.db.close()

    async def enqueue_one(self, number: int) -> None:
        await self.engine.enqueue("noop", {"number": number})

    async def enqueue_bulk(self, numbers: range) -> None:
        for start in range(0, len(numbers), 5000):
            await self.engine.enqueue_many(
                [NewJob(kind="noop", args={"number": n}) for n in numbers[start : start + 5000]]
            )

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        logging.configure("json", level="warning", stream=sys.stderr)
        await self.open(handle)
        async with await Database.open(self.url, max_size=4, name="control") as control:
            worker = Worker(self.engine, control, queues={"default": CONCURRENCY}, listener=Listener(self.url))
            spare_the_collector()
            running = asyncio.create_task(worker.run())
            told = asyncio.create_task(stop.wait())
            await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            worker.stop()
            await running
        await self.close()


if __name__ == "__main__":
    main(TidemillEngine)
