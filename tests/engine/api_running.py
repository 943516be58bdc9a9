"""An application in this process, with a worker of its own; and what became of its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tidemill import Settings, Tidemill
from tidemill.postgres import Database

from .api_app import add_jobs
from .support import PATIENCE


def application(database_url: str) -> Tidemill:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    add_jobs(app)
    return app


@asynccontextmanager
async def running(app: Tidemill, **options: Any) -> AsyncGenerator[None]:
    """The application, open, with a worker that has started and works until the block ends."""
    async with app, app.rooms.worker(**options) as worker:
        task = asyncio.create_task(worker.run())
        started = asyncio.create_task(worker.started.wait())
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            yield
        finally:
            started.cancel()
            worker.stop()
            async with asyncio.timeout(PATIENCE):
                await task


async def results(db: Database) -> dict[int, Any]:
    return {row["id"]: row["result"] for row in await db.fetch("select id, result from tidemill.job_run")}


async def ends(db: Database, job: int) -> list[tuple[str, str | None]]:
    rows = await db.fetch("select outcome, reason from tidemill.job_run where id = $1 order by finished_at", job)
    return [(row["outcome"], row["reason"]) for row in rows]
