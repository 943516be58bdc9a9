"""Planning: rows that were written since they were planned last get their next fire, or are told what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import structlog

from tidemill.errors import InvalidInput
from tidemill.postgres import Database, Record
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.schedule import next_fire, read_schedule
from tidemill.sync.jobs.statements import SQL
from tidemill.sync.jobs.written import below, read_payload, told

CHUNK = 200
"""Rows that one statement plans; each may bring 64 kB of payload."""
_FIRST = UUID(int=0)

_log = structlog.get_logger("tidemill.sync")


class Planning:
    """Plans the sync jobs of the types that this process knows; the others are left to newer ones."""

    def __init__(self, db: Database, types: Mapping[str, JobType]) -> None:
        self._db = db
        self._types = types

    async def plan(self, until: float) -> int:
        """Plan what is unplanned, until it is done or the loop's clock says ``until``; how many rows were written."""
        written = 0
        for name in self._types:
            after = _FIRST
            while asyncio.get_running_loop().time() < until:
                rows = await self._db.fetch(SQL.unplanned, name, CHUNK, after)
                if rows:
                    written += await self._write(rows)
                    after = rows[-1]["id"]
                if len(rows) < CHUNK:
                    break
        return written

    async def _write(self, rows: list[Record]) -> int:
        planned = [self._planned(row) for row in rows]
        done = await self._db.fetch(
            SQL.plan_write,
            [row["id"] for row in rows],
            [row["version"] for row in rows],
            [row["next_run_at"] for row in rows],
            [row["zone"] for row in rows],
            [at for at, _ in planned],
            [error for _, error in planned],
        )
        broken = sum(error is not None for _, error in planned)
        _log.debug("sync_jobs_planned", jobs=len(done), broken=broken)
        return len(done)

    def _planned(self, row: Record) -> tuple[datetime | None, str | None]:
        """The next fire, and what is wrong."""
        try:
            plan = read_schedule(row["schedule"], row["zone"])
            at = next_fire(plan, row["next_run_at"], row["now"])
            payload = read_payload(row["payload"])
            try:
                self._types[row["job_type"]].check(payload)
            except InvalidInput as e:
                raise below("payload", e) from None
        except Exception as e:  # noqa: BLE001 - whatever a row is, it must not stop the others
            return None, told(e)
        return None if row["is_disabled"] else at, None
