"""How long logs are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidemill.engine import Context, Done, Outcome, Snooze
from tidemill.sync.statements import SQL

KIND = "log_retention"
CHUNK = 1000
"""Rows of each log that one transaction deletes."""
MOST_CHUNKS = 100
"""Transactions of one attempt; what is left then is the next one's, at once."""


@dataclass(frozen=True, slots=True)
class LogRetention:
    """Deletes ended rows of the logs that are older than ``days``, oldest first; an open row is never deleted."""

    days: int

    async def __call__(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The job's handler."""
        gone = {"sync_logs": 0, "system_job_logs": 0, "sync_run_logs": 0}
        for _ in range(MOST_CHUNKS):
            async with ctx.transaction() as conn:
                deleted = await conn.fetchrow(SQL.logs_prune, self.days, CHUNK)
            assert deleted is not None  # noqa: S101 - a select without FROM has one row
            for log in gone:
                gone[log] += deleted[log]
            if max(deleted) < CHUNK:
                return Done(gone)
        return Snooze(0, "more to delete")
