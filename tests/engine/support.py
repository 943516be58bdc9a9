"""What the engine's tests share: an application in one process, and signals to wait on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tidemill.engine import Engine, Kind, Registry, Worker
from tidemill.engine.control import open_control
from tidemill.postgres import Database, Listener

PATIENCE = 30.0
"""Seconds: ten times what any of these waits needs."""

IMPATIENT = (
    "alter function tidemill.enqueue_jobs(int[], int[], smallint[], smallint[], uuid[], uuid[], text[], jsonb[],"
    " timestamptz[], double precision[], text[]) set lock_timeout = '50ms'"
)
"""An enqueue waits for another transaction no longer than that."""


@asynccontextmanager
async def working(
    db: Database,
    *kinds: Kind,
    concurrency: int = 10,
    lease_ttl: float = 15.0,
    grace: float = 5.0,
    answer: float = 15.0,
    **options: Any,
) -> AsyncGenerator[tuple[Engine, Worker]]:
    """An engine with one worker that runs until the block ends; ``answer``: seconds that a claim or finish may take."""
    registry = Registry()
    for kind in kinds:
        registry.add(kind)
    engine = Engine(db, registry)
    listener = Listener(db.url)
    control = await open_control(db.url, name="control", answer_s=answer)
    queues = dict.fromkeys(registry.queues, concurrency)
    worker = Worker(engine, control, queues=queues, listener=listener, lease_ttl=lease_ttl, grace=grace, **options)
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(PATIENCE):
            started = asyncio.create_task(worker.started.wait())
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            started.cancel()
        yield engine, worker
    finally:
        worker.stop()
        async with asyncio.timeout(PATIENCE):
            await task
        await control.close()


async def until(check: Callable[[], Awaitable[Any]], *, what: str = "the condition") -> Any:
    """Poll the database until ``check`` answers something true, and return that."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (answer := await check()):
                await asyncio.sleep(0.02)
            return answer
    except TimeoutError:
        raise AssertionError(f"{what} did not come true") from None


async def quiet(db: Database) -> None:
    """Wait until no job is ready, waiting or leased."""

    async def empty() -> bool:
        return await db.fetchval(
            "select not exists (select from tidemill.job_ready) and not exists (select from tidemill.job_lease)"
            " and not exists (select from tidemill.job_delayed)"
        )

    await until(empty, what="an empty queue")


async def history(db: Database) -> list[tuple[str, int, str, str | None]]:
    """(kind, attempt, outcome, reason) of every recorded attempt, in order."""
    rows = await db.fetch(
        "select k.name, r.attempt, r.outcome, r.reason from tidemill.job_run r"
        " join tidemill.kind k on k.id = r.kind order by r.finished_at, r.id"
    )
    return [tuple(row) for row in rows]
