"""Keeps the engine's own tables small and its partitions ahead of time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import asyncpg
import structlog

from tidemill.engine.statements import SQL
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database

EVERY_S = 3600.0
POSTPONED_S = 60.0
"""Until the next try, when a lock or the database could not be had, or more was left to do than one round does."""
PATIENCE_S = 60.0
"""What one of its statements may take: it has longer than what jobs wait for."""
KEPT_DAYS = 30
"""How long fires of schedules and closed batches are kept: as long as the logs that tell of them."""
CHUNK = 1000
"""Rows of each table that one statement deletes."""
MOST_CHUNKS = 100
"""Statements of one round."""

_log = structlog.get_logger("tidemill.engine")


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long what jobs leave behind is kept.

    Attributes:
        history_days: the history of attempts, at least; it goes a partition at a time.
        dead_days: dead jobs; 0 = for ever.
    """

    history_days: int = 30
    dead_days: int = 90


async def keep_house_always(db: Database, retention: Retention | None = None) -> None:
    """Keep house now and from time to time, until cancelled; a database that is away is waited for."""
    while True:
        pause = POSTPONED_S
        try:
            pause = await keep_house(db, retention)
        except DatabaseUnavailable as e:
            _log.warning("housekeeping_waits_for_database", error=str(e))
        await asyncio.sleep(pause)


async def keep_house(db: Database, retention: Retention | None = None) -> float:
    """Make the coming partitions, forget what nobody asks for any more; the seconds until it is to be done again.

    A partition that cannot be made now, because somebody holds its parent, is made by the next round: the DEFAULT
    partition takes the rows meanwhile. One that cannot be dropped now is dropped by the next round too.
    """
    retention = retention or Retention()
    again = EVERY_S
    try:
        for row in await db.fetch(SQL.partitions, timeout=PATIENCE_S):
            if row["outcome"] == "created":
                _log.info("partition_created", partition=row["partition"])
        await db.fetch(SQL.history_detach, retention.history_days, timeout=PATIENCE_S)
        for row in await db.fetch(SQL.history_drop, timeout=PATIENCE_S):
            _log.info("partition_dropped", partition=row["partition"], kept_days=retention.history_days)
    except asyncpg.LockNotAvailableError as e:
        _log.warning("partitions_postponed", error=str(e))
        again = POSTPONED_S
    gone = Counter[str]()
    for _ in range(MOST_CHUNKS):
        kept = KEPT_DAYS, retention.dead_days, retention.history_days
        row = await db.fetchrow(SQL.housekeeping, *kept, CHUNK, timeout=PATIENCE_S)
        lanes = await db.fetchval(SQL.forget_lanes, CHUNK, timeout=PATIENCE_S)
        deleted: dict[str, int] = {**(row or {}), "lanes": lanes}
        gone.update(deleted)
        if max(deleted.values(), default=0) < CHUNK:
            break
    else:
        again = POSTPONED_S
    if gone.total():
        _log.info("housekeeping", **gone)
    return again
