"""Chancy: its asyncio executor, 200 jobs side by side, notifications and eager polling."""

from __future__ import annotations

import asyncio
import logging

from chancy import Chancy, Queue, Worker, job

from benchmarks.peers.protocol import Contender, Handle, main

_handle: Handle = lambda _: None  # noqa: E731 - replaced by the worker


@job(queue="bench")
async def noop(*, number: int) -> None:
    _handle(number)


class ChancyContender(Contender):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.app = Chancy(url, log=logging.getLogger("chancy"))
        logging.getLogger("chancy").setLevel(logging.ERROR)

    async def install(self) -> None:
        async with self.app as app:
            await app.migrate()
            await app.declare(
                Queue("bench", concurrency=200, executor=Chancy.Executor.Async, eager_polling=True, polling_interval=5)
            )

    async def open(self) -> None:
        await self.app.__aenter__()

    async def close(self) -> None:
        await self.app.__aexit__(None, None, None)

    async def enqueue_one(self, number: int) -> None:
        await self.app.push(noop.job.with_kwargs(number=number))

    async def enqueue_bulk(self, numbers: range) -> None:
        async for _ in self.app.push_many([noop.job.with_kwargs(number=n) for n in numbers]):
            pass

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        global _handle  # a job's function is found by its import path, so it must be a module's
        _handle = handle
        async with self.app, Worker(self.app, register_signal_handlers=False):
            await stop.wait()


if __name__ == "__main__":
    from benchmarks.peers.chancy import ChancyContender as Imported  # not __main__'s: see work()

    main(Imported)
