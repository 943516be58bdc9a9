"""How long logs are kept, and that nothing else outlives them."""

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
    """Deletes ended rows of the logs that are older than ``days``, oldest first; an open row is never deleted.

    What ended runs have left staged goes whatever its age.
    """

    days: int

    async def __call__(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The job's handler."""
        gone = dict.fromkeys(("sync_logs", "system_job_logs", "sync_run_logs", "staged_records"), 0)
        for _ in range(MOST_CHUNKS):
            async with ctx.transaction() as conn:
                staged = await conn.fetchval(SQL.staged_prune, CHUNK)
                logs = await conn.fetchrow(SQL.logs_prune, self.days, CHUNK)
            deleted: dict[str, int] = {"staged_records": staged, **(logs or {})}
            for table in gone:
                gone[table] += deleted[table]
            if max(deleted.values()) < CHUNK:
                return Done(gone)
        return Snooze(0, "more to delete")
