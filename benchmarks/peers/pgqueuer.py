"""PgQueuer: asyncpg pool, batches of 100 both ways."""

from __future__ import annotations

import asyncio

import asyncpg
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

from benchmarks.peers.protocol import Contender, Handle, main


class PgQueuer(Contender):
    async def install(self) -> None:
        await self.open()
        await self.queries.install()
        await self.close()

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(self.url, min_size=2, max_size=10)
        self.queries = Queries(AsyncpgPoolDriver(self.pool))

    async def close(self) -> None:
        await self.pool.close()

    async def enqueue_one(self, number: int) -> None:
        await self.queries.enqueue("noop", b"%d" % number)

    async def enqueue_bulk(self, numbers: range) -> None:
        for start in range(0, len(numbers), 5000):
            chunk = numbers[start : start + 5000]
            await self.queries.enqueue(["noop"] * len(chunk), [b"%d" % n for n in chunk], [0] * len(chunk))

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        await self.open()
        manager = QueueManager(self.queries)

        @manager.entrypoint("noop")
        async def noop(job: Job) -> None:
            handle(int(job.payload or b""))

        running = asyncio.create_task(manager.run(batch_size=100))
        await asyncio.wait([running, told := asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        manager.shutdown.set()
        await running
        await self.close()


if __name__ == "__main__":
    main(PgQueuer)
