"""How the handed-over schedule is doing."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.app import SCHEDULED_SYNC
from tidemill.cli.cron.handover import JOB, require_extensions
from tidemill.cli.cron.statements import SQL
from tidemill.postgres import Database, Record

MOST = 5


@dataclass(frozen=True, slots=True)
class Report:
    """The job, and the latest of what it did."""

    job: Record | None
    runs: list[Record]
    calls: list[Record]
    paused_by: str | None

    @property
    def well(self) -> bool:
        """The job is there and active, and neither its latest run nor the latest answered call failed."""
        if self.job is None or not self.job["active"] or (self.runs and self.runs[0]["status"] == "failed"):
            return False
        answered = next((call for call in self.calls if call["status_code"] or call["error"]), None)
        return answered is None or (answered["error"] is None and answered["status_code"] < 400)


async def read(db: Database) -> Report:
    """Read it all.

    Raises:
        NotFound: the extensions are missing.
    """
    await require_extensions(db)
    has_answers = await db.fetchval(SQL.has_answers)
    return Report(
        job=await db.fetchrow(SQL.job, JOB),
        runs=await db.fetch(SQL.job_runs, JOB, MOST),
        calls=await db.fetch(SQL.answered_calls if has_answers else SQL.calls, MOST),
        paused_by=await db.fetchval(SQL.built_in, SCHEDULED_SYNC),
    )
