"""Runs that somebody asked for: taken up by a tick, as those of schedules are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

from tidemill.connectors import Connector
from tidemill.engine import Engine
from tidemill.postgres import Connection, Database
from tidemill.sync.jobs.firing import CHUNK, MOST_LISTED, engine_job, hand_over
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.lane import kind_of
from tidemill.sync.jobs.statements import SQL


class Asked:
    """Takes up runs that no engine's job stands for yet."""

    def __init__(
        self, db: Database, engine: Engine, types: Mapping[str, JobType], connectors: Mapping[str, Connector]
    ) -> None:
        self._db = db
        self._engine = engine
        self._types = types
        self._connectors = connectors

    async def take_up(self, until: float) -> int:
        """Take up what was asked for, until the loop's clock says ``until``; how many runs went on."""
        listed = await self._db.fetch(SQL.asked, list(self._types), MOST_LISTED)
        taken = 0
        for start in range(0, len(listed), CHUNK):
            if asyncio.get_running_loop().time() >= until:
                break
            chunk = [(row["id"], row["job_id"]) for row in listed[start : start + CHUNK]]
            taken += await self._take_up(chunk)
        return taken

    async def _take_up(self, chunk: list[tuple[UUID, UUID]]) -> int:
        async def work(conn: Connection) -> int:
            held = [row["id"] for row in await conn.fetch(SQL.jobs_hold, list({job for _, job in chunk}))]
            rows = await conn.fetch(SQL.asked_rows, [run for run, _ in chunk], held)
            closed = [row["id"] for row in rows if not row["is_active"]]
            if closed:
                await conn.execute(SQL.asked_skip, closed, "company_suspended")
            jobs = {
                row["id"]: engine_job(
                    row["id"],
                    kind=kind_of(row["provider"], self._connectors),
                    job=row["job_id"],
                    company=row["company_id"],
                    connector=row["connector_id"],
                    priority=row["priority"],
                    free=bool(row["is_free"]),
                )
                for row in rows
                if row["is_active"]
            }
            return len(closed) + await hand_over(conn, self._engine, jobs, settle=held)

        return await self._db.retrying(work)
