"""Which types of jobs the workers know, all together; jobs of any other are told that nobody does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import structlog

from tidemill.postgres import Database
from tidemill.sync.jobs.statements import SQL

EVERY_S = 10.0
"""Between two times that a process says what it knows."""
FORGOTTEN_S = 60.0
"""After which a type is unknown that no process has said it knows: longer than a worker takes to be replaced."""
CHUNK = 500

_log = structlog.get_logger("tidemill.sync")


class Knowing:
    """Says what this process knows, and tells the jobs that nobody knows; any number of nodes at once."""

    def __init__(self, db: Database, types: Iterable[str]) -> None:
        self._db = db
        self._types = sorted(types)
        self._next_at = 0.0

    async def tell(self) -> None:
        """Do so if it is time."""
        clock = asyncio.get_running_loop().time
        if clock() < self._next_at:
            return
        await self._db.execute(SQL.type_known, self._types, EVERY_S)
        told = await self._db.fetch(SQL.type_unknown, FORGOTTEN_S, CHUNK)
        for job_type, jobs in Counter[str](row["job_type"] for row in told).items():
            _log.warning("sync_job_type_unknown", job_type=job_type, jobs=jobs)
        self._next_at = clock() + (0.0 if len(told) == CHUNK else EVERY_S)
