"""Procrastinate: 50 jobs side by side, woken by LISTEN."""

from __future__ import annotations

import asyncio
import logging

import procrastinate

from benchmarks.peers.protocol import Contender, Handle, main


class Procrastinate(Contender):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=20))
        self.handle: Handle = lambda _: None

        @self.app.task(name="noop")
        async def noop(number: int) -> None:
            self.handle(number)

        self.noop = noop
        logging.getLogger("procrastinate").setLevel(logging.ERROR)

    async def install(self) -> None:
        async with self.app.open_async():
            await self.app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        await self.app.open_async()

    async def close(self) -> None:
        await self.app.close_async()

    async def enqueue_one(self, number: int) -> None:
        await self.noop.defer_async(number=number)

    async def enqueue_bulk(self, numbers: range) -> None:
        for start in range(0, len(numbers), 1000):
            await self.noop.batch_defer_async(*({"number": n} for n in numbers[start : start + 1000]))

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        self.handle = handle
        async with self.app.open_async():
            worker = asyncio.create_task(
                self.app.run_worker_async(concurrency=50, install_signal_handlers=False, listen_notify=True)
            )
            await stop.wait()
            worker.cancel()
            await asyncio.wait([worker])


if __name__ == "__main__":
    main(Procrastinate)
