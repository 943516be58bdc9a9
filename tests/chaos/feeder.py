"""Enqueues for the ledger, through a network that fails; what there must be in the end is in the database."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.ledger import SORTS, kind_name, registry
from tidemill.engine import Engine, NewJob
from tidemill.engine.cancel import cancel_jobs
from tidemill.engine.chain import enqueue_batch, enqueue_chain
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Connection, Database

MEMBERS = 4
CHAIN = (1, 2, 1)
"""Jobs of each step."""
KEYS = 12
LOOSE_DELAY_S = 2.0
MOST_WAITING = 100
"""More are not enqueued until these are done, however slow the machine: what is tested is not its speed."""


@dataclass
class Feeder:
    """Enqueues until told to stop.

    Attributes:
        db: through the enqueuers' proxy.
        mark: what the names of its jobs begin with, after their sort.
        loose: names of jobs that were enqueued without a note of it, and whether that was answered.
        unanswered: calls whose answer did not come.
    """

    db: Database
    rng: random.Random
    mark: str
    loose: dict[str, bool] = field(default_factory=dict[str, bool])
    unanswered: int = 0

    def __post_init__(self) -> None:
        self._engine = Engine(self.db, registry())

    async def feed(self, harrying: asyncio.Task[None]) -> None:
        n = 0
        while not harrying.done():
            n += 1
            sort = self.rng.choice(SORTS)
            try:
                if await self.db.fetchval("select count(*) from tidemill.job_ready") < MOST_WAITING:
                    await self._one(sort, f"{sort} {self.mark}.{n}")
            except DatabaseUnavailable:
                self.unanswered += 1
            await asyncio.sleep(self.rng.uniform(0.0, 0.06))

    async def _one(self, sort: str, name: str) -> None:
        if sort == "loose":
            await self._enqueue_loose(name)
            return
        async with self.db.transaction() as conn:
            job = await self._enqueue(conn, sort, name)
        if sort == "cancel" and job is not None and self.rng.random() < 0.8:
            await asyncio.sleep(self.rng.uniform(0.0, 0.1))
            await cancel_jobs(self._engine, [job], by="chaos")

    async def _enqueue(self, conn: Connection, sort: str, name: str) -> int | None:
        """Enqueue and note it in one transaction."""
        if sort == "batch":
            names = [f"{name} member {n}" for n in range(MEMBERS)]
            closing = _job(sort, f"{name} closing")
            jobs = await enqueue_batch(self._engine, [_job(sort, n) for n in names], on_done=closing, conn=conn)
            await _note(conn, sort, [*zip(names, jobs, strict=True), (f"{name} closing", None)])
            return None
        if sort == "chain":
            steps = [[f"{name} step {s} job {n}" for n in range(jobs)] for s, jobs in enumerate(CHAIN)]
            await enqueue_chain(self._engine, [[_job(sort, n) for n in step] for step in steps], conn=conn)
            await _note(conn, sort, [(n, None) for step in steps for n in step])
            return None
        key = f"key {self.rng.randrange(KEYS)}" if sort == "key" else None
        [job] = await self._engine.enqueue_many([_job(sort, name, key=key)], conn=conn)
        if job is not None:
            await _note(conn, sort, [(name, job)])
        return job

    async def _enqueue_loose(self, name: str) -> None:
        """By itself; asked again with its key when there was no answer, which may find it there."""
        self.loose[name] = False
        loop = asyncio.get_running_loop()
        began = loop.time()
        job = _job("loose", name, key=name, delay=LOOSE_DELAY_S)
        with suppress(DatabaseUnavailable):
            await self._engine.enqueue_many([job])
            self.loose[name] = True
            return
        self.unanswered += 1
        # While it is delayed it lives and holds its key. Later a second one would be a new job, rightly.
        with suppress(DatabaseUnavailable, TimeoutError):
            async with asyncio.timeout(LOOSE_DELAY_S - (loop.time() - began)):
                await self._engine.enqueue_many([job])
                self.loose[name] = True


def _job(sort: str, name: str, *, key: str | None = None, delay: float | None = None) -> NewJob:
    return NewJob(kind=kind_name(sort), args={"name": name}, key=key, delay=delay)


async def _note(conn: Connection, sort: str, jobs: list[tuple[str, int | None]]) -> None:
    await conn.executemany("insert into chaos_fed values ($1, $2, $3)", [(name, sort, job) for name, job in jobs])
