"""Keeps the engine's own tables small and its partitions ahead of time."""

from __future__ import annotations

import asyncpg
import structlog

from tidemill.engine.statements import SQL
from tidemill.postgres import Database

EVERY_S = 3600.0
POSTPONED_S = 60.0
"""Until the next try, when a lock or the database could not be had."""
PATIENCE_S = 60.0
"""What one of its statements may take: it has longer than what jobs wait for."""
KEPT_DAYS = 30
"""How long fires of schedules and closed batches are kept: as long as the logs that tell of them."""

_log = structlog.get_logger("tidemill.engine")


async def keep_house(db: Database) -> float:
    """Make the coming partitions, forget what nobody asks for any more; the seconds until it is to be done again.

    A partition that cannot be made now, because somebody holds its parent, is made by the next round: the DEFAULT
    partition takes the rows meanwhile.
    """
    again = EVERY_S
    try:
        for row in await db.fetch(SQL.partitions, timeout=PATIENCE_S):
            if row["outcome"] == "created":
                _log.info("partition_created", partition=row["partition"])
    except asyncpg.LockNotAvailableError as e:
        _log.warning("partitions_postponed", error=str(e))
        again = POSTPONED_S
    gone = await db.fetchrow(SQL.housekeeping, KEPT_DAYS, timeout=PATIENCE_S)
    if gone is not None and any(gone.values()):
        _log.info("housekeeping", **dict(gone))
    return again
