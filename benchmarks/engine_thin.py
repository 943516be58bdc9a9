"""Contender: the limit. What is left of an engine without leases, retries, fences, history, time-outs of its own, caps
or heartbeat: a statement claims 500, each job runs in a task under a time-out, a statement deletes them. The next claim
and the last deletion are under way on a connection each while jobs run.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from benchmarks.peers.protocol import Contender, Handle, main
from tidemill.cli.running import spare_the_collector

BATCH = 500

TABLE = """
create table thin_job (
  id bigint generated always as identity primary key, number int not null, claimed_at timestamptz
) with (autovacuum_vacuum_cost_delay = 0)
"""
INDEX = "create index on thin_job (id) where claimed_at is null"
CLAIM = """
update thin_job set claimed_at = clock_timestamp() where id = any (array(
  select id from thin_job where claimed_at is null order by id limit $1 for update skip locked))
returning id, number
"""
DELETE = "delete from thin_job where id = any ($1::bigint[])"
ENQUEUE = "with job as (insert into thin_job (number) values ($1)) select pg_notify('thin_job', '')"
BULK = (
    "with job as (insert into thin_job (number) select * from unnest($1::int[]) returning id)"
    " select pg_notify('thin_job', ''), count(*) from job"
)


class Thin(Contender):
    async def install(self) -> None:
        await self.open()
        await self.conn.execute(f"{TABLE}; {INDEX}")
        await self.close()

    async def open(self) -> None:
        self.conn: Any = await asyncpg.connect(self.url)

    async def close(self) -> None:
        await self.conn.close()

    async def enqueue_one(self, number: int) -> None:
        await self.conn.fetch(ENQUEUE, number)

    async def enqueue_bulk(self, numbers: range) -> None:
        for start in range(0, len(numbers), 5000):
            await self.conn.fetch(BULK, numbers[start : start + 5000])

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        spare_the_collector()
        claims, deletes, ears = [await asyncpg.connect(self.url) for _ in range(3)]
        wake = asyncio.Event()
        await ears.add_listener("thin_job", lambda *_: wake.set())

        async def run(number: int) -> None:
            async with asyncio.timeout(300):
                await job(handle, number)

        deleting = asyncio.create_task(asyncio.sleep(0))
        claiming = asyncio.create_task(claims.fetch(CLAIM, BATCH))
        while not stop.is_set():
            rows = await claiming
            if not rows:
                await _first(stop, wake)
                wake.clear()
            # Before the jobs: the server works while they run.
            claiming = asyncio.create_task(claims.fetch(CLAIM, BATCH))
            if rows:
                await asyncio.gather(*(asyncio.create_task(run(row["number"])) for row in rows))
                await deleting
                deleting = asyncio.create_task(deletes.execute(DELETE, [row["id"] for row in rows]))
        await asyncio.gather(claiming, deleting)
        for conn in (claims, deletes, ears):
            await conn.close()


async def job(handle: Handle, number: int) -> None:
    """What runs: a coroutine that does nothing."""
    handle(number)


async def _first(stop: asyncio.Event, wake: asyncio.Event) -> None:
    """Wait until stopped or woken, a second at most."""
    tasks = [asyncio.create_task(event.wait()) for event in (stop, wake)]
    await asyncio.wait(tasks, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    main(Thin)
