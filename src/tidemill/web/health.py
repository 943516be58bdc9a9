"""Is the process alive, and may it be sent work?"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database, Statements
from tidemill.postgres.migrate import migrations
from tidemill.web.problems import json_response

__all__ = ["Readiness", "healthz"]

CHECK_SECONDS = 1.0
"""What the database may take to answer; also how long an answer is good for, so that probes cost it next to nothing."""

_SQL = Statements("tidemill.web.sql")


async def healthz(request: web.Request) -> web.Response:
    """200 as long as the process answers."""
    return json_response({"status": "ok"})


class Readiness:
    """``/readyz``: 200 when the database answers within a second and has every migration of this version.

    Otherwise 503 with the reasons: ``database_unreachable``, ``schema_out_of_date``, ``stopping``. A schema that is
    newer than this version is no reason, since releases overlap while they roll out.
    """

    def __init__(self, db: Database, stopping: asyncio.Event) -> None:
        self._db = db
        self._stopping = stopping
        self._required = frozenset(m.version for m in migrations())
        self._checking = asyncio.Lock()
        self._checked_at: float | None = None
        self._reasons: list[str] = []

    async def readyz(self, request: web.Request) -> web.Response:
        """The answer, at most a second old."""
        reasons = ["stopping"] if self._stopping.is_set() else await self._current()
        if reasons:
            return json_response({"status": "unavailable", "reasons": reasons}, status=503)
        return json_response({"status": "ok"})

    async def _current(self) -> list[str]:
        async with self._checking:
            if self._checked_at is None or time.monotonic() - self._checked_at >= CHECK_SECONDS:
                self._reasons = await self._check()
                self._checked_at = time.monotonic()
            return self._reasons

    async def _check(self) -> list[str]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                applied: set[str] = set()
                if await self._db.fetchval(_SQL.ledger_exists):
                    applied = {row["version"] for row in await self._db.fetch(_SQL.ledger_versions)}
        except (DatabaseUnavailable, TimeoutError):
            return ["database_unreachable"]
        return [] if self._required <= applied else ["schema_out_of_date"]
