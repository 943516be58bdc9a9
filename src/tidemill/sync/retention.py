"""How long logs and replaced secrets are kept, and that nothing else outlives a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tidemill.engine import Context, Done, Outcome, Snooze
from tidemill.sync.statements import SQL

KIND = "log_retention"
CHUNK = 1000
"""Rows of each table that one transaction deletes."""
MOST_CHUNKS = 100
"""Transactions of one attempt and statement; what is left then is the next one's, at once."""


@dataclass(frozen=True, slots=True)
class LogRetention:
    """Deletes ended rows of the logs that are older than ``days``, oldest first; an open row is never deleted.

    Of a connector's secrets the newest version stays and the one before it, which a run under way may have begun with.
    What ended runs have left staged goes whatever its age.
    """

    days: int

    async def __call__(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The job's handler."""
        gone = Counter[str]()
        prunes = (
            (SQL.logs_prune, (self.days, CHUNK)),
            (SQL.staged_prune, (CHUNK,)),
            (SQL.credentials_prune, (CHUNK,)),
        )
        for prune, parameters in prunes:
            for _ in range(MOST_CHUNKS):
                async with ctx.transaction() as conn:
                    deleted = await conn.fetchrow(prune, *parameters)
                assert deleted is not None  # noqa: S101 - an aggregate without GROUP BY always has a row
                gone.update(dict(deleted))
                if max(deleted) < CHUNK:
                    break
            else:
                return Snooze(0, "more to delete")
        return Done(dict(gone))
