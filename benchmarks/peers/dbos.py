"""DBOS: one queue polled every 0.1 s, 500 workflows side by side, a pool of 20."""

from __future__ import annotations

import asyncio

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.peers.protocol import Contender, Handle, main

QUEUE = {"workflow_name": "noop", "queue_name": "bench"}


class Dbos(Contender):
    async def install(self) -> None:
        await asyncio.to_thread(self._launch, lambda _: None)
        await asyncio.to_thread(DBOS.destroy)

    def _launch(self, handle: Handle) -> None:
        config: DBOSConfig = {
            "name": "bench",
            "system_database_url": self.url,
            "sys_db_pool_size": 20,
            "application_version": "1",
            "log_level": "ERROR",
        }
        DBOS(config=config)

        @DBOS.workflow(name="noop")
        async def noop(number: int) -> None:
            handle(number)

        DBOS.launch()
        DBOS.register_queue("bench", worker_concurrency=500, polling_interval_sec=0.1)

    async def open(self) -> None:
        self.client = DBOSClient(system_database_url=self.url)
        url = sqlalchemy.make_url(self.url).set(drivername="postgresql+psycopg")
        self.database = sqlalchemy.create_engine(url)

    async def close(self) -> None:
        self.client.destroy()
        self.database.dispose()

    async def enqueue_one(self, number: int) -> None:
        self.client.enqueue(QUEUE, number)

    async def enqueue_bulk(self, numbers: range) -> None:
        for start in range(0, len(numbers), 1000):
            with self.database.begin() as conn:
                for number in numbers[start : start + 1000]:
                    self.client.enqueue_in_transaction(conn, QUEUE, number)

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        await asyncio.to_thread(self._launch, handle)
        await stop.wait()
        await asyncio.to_thread(DBOS.destroy)


if __name__ == "__main__":
    main(Dbos)
