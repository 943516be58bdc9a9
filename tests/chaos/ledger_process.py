"""A worker whose jobs write what they do into a ledger: ``python -m tests.chaos.ledger_process``."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import structlog

from tidemill import logging
from tidemill.engine import Context, Engine, Kind, Registry, Worker
from tidemill.postgres import Database, Listener

KIND = "chaos.ledger"
PHASES = 3
TABLE = "create table public.chaos_ledger (job bigint not null, phase int not null, attempt int not null)"
"""Nothing in it forbids that a phase of a job is written twice: only the fence does."""
LEASE_S = 2.0


async def write(ctx: Context, args: dict[str, Any]) -> None:
    for phase in range(PHASES):
        async with ctx.transaction() as conn:
            done = await conn.fetchval(
                "select exists (select from chaos_ledger where job = $1 and phase = $2)", ctx.job.id, phase
            )
            await asyncio.sleep(random.uniform(0, 0.02))
            if not done:
                attempt = ctx.job.attempt + ctx.job.crashes
                await conn.execute("insert into chaos_ledger values ($1, $2, $3)", ctx.job.id, phase, attempt)
        await asyncio.sleep(random.uniform(0, 0.02))


async def work(url: str) -> None:
    registry = Registry()
    registry.add(Kind(KIND, write))
    async with await Database.open(url) as db, await Database.open(url, max_size=4) as control:
        worker = Worker(Engine(db, registry), control, queues={"default": 8}, listener=Listener(url), lease_ttl=LEASE_S)
        running = asyncio.create_task(worker.run())
        started = asyncio.create_task(worker.started.wait())
        await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            structlog.get_logger("tests").info("ready", pid=os.getpid())
        await running


if __name__ == "__main__":
    logging.configure("json")
    asyncio.run(work(os.environ["CHAOS_DATABASE_URL"]))
