"""Contender: Tidemill's engine, one worker process as `tidemill worker` would run it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from benchmarks.peers.protocol import Contender, Handle, main
from tidemill import Tidemill, logging
from tidemill.cli.running import spare_the_collector
from tidemill.postgres import migrate
from tidemill.settings import Settings

CONCURRENCY = 1000
"""Twice what one claim takes: while one half runs, the next is claimed."""


class Number(msgspec.Struct):
    """What a job is told."""

    number: int


class TidemillEngine(Contender):
    async def install(self) -> None:
        await migrate(self.url)

    async def open(self, handle: Handle = lambda _: None) -> None:
        self.app = Tidemill(Settings(database_url=self.url))

        @self.app.job(name="noop")
        async def noop(_: Any, args: Number) -> None:
            handle(args.number)

        self.noop: Callable[..., Awaitable[None]] = noop
        self.opened = AsyncExitStack()
        self.rooms = await self.opened.enter_async_context(self.app.open())

    async def close(self) -> None:
        await self.opened.aclose()

    async def enqueue_one(self, number: int) -> None:
        await self.app.enqueue(self.noop, Number(number))

    async def enqueue_bulk(self, numbers: range) -> None:
        for start in range(0, len(numbers), 5000):
            await self.app.enqueue_many([self.app.prepare(self.noop, Number(n)) for n in numbers[start : start + 5000]])

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        logging.configure("json", level="warning", stream=sys.stderr)
        await self.open(handle)
        async with self.rooms.worker(queues={"default": CONCURRENCY}) as worker:
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
