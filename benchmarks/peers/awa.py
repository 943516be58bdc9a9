"""Awa: queue storage (what a fresh install gets), 500 workers, COPY for bulk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from awa import AsyncClient

from benchmarks.peers.protocol import Contender, Handle, main


@dataclass
class Noop:
    number: int


class Awa(Contender):
    async def install(self) -> None:
        await self.open()
        await self.client.migrate()
        await self.client.install_queue_storage()  # enqueue_many_copy refuses before
        await self.close()

    async def open(self) -> None:
        self.client = AsyncClient(self.url, max_connections=10)

    async def close(self) -> None:
        await self.client.close()

    async def enqueue_one(self, number: int) -> None:
        await self.client.insert(Noop(number), queue="bench")

    async def enqueue_bulk(self, numbers: range) -> None:
        for start in range(0, len(numbers), 5000):
            await self.client.enqueue_many_copy([Noop(n) for n in numbers[start : start + 5000]], queue="bench")

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        await self.open()

        @self.client.task(Noop, queue="bench")
        async def noop(job: object) -> None:
            handle(job.args.number)

        await self.client.start([("bench", 500)])
        await stop.wait()
        await self.client.shutdown()
        await self.close()


if __name__ == "__main__":
    main(Awa)
