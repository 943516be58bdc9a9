"""This process's incarnation: one heartbeat for all its leases.

Trust is anchored to the *start* of the last renewal that succeeded: the database counts the lease's time from a later
instant, so a process that goes by its own clock stops before Postgres would let anybody else take its jobs.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from tidemill.engine.statements import SQL
from tidemill.postgres import Database

SAFETY = 0.9
"""Share of the lease's time after which handlers are stopped; the rest is for stopping them."""
MOST_PROMOTED = 2000


@dataclass(frozen=True, slots=True)
class Beat:
    """What one upkeep statement found."""

    alive: bool
    promoted: int
    orphans: bool
    overdue: bool
    cancels: bool
    queues: list[int]
    next_fire_s: float | None


class Node:
    """A worker process as the database knows it."""

    def __init__(self, db: Database, *, ttl: float, queues: Iterable[str] = ()) -> None:
        self._db = db
        self._queues = sorted(queues)
        self.ttl = ttl
        self.id = 0
        self.safe_until = 0.0

    async def register(self) -> None:
        """Begin a new incarnation."""
        started = asyncio.get_running_loop().time()
        self.id = await self._db.fetchval(
            SQL.node_register, socket.gethostname(), os.getpid(), self.ttl, version("tidemill"), self._queues
        )
        self.safe_until = started + self.ttl * SAFETY

    async def beat(self) -> Beat:
        """Renew, promote due jobs, renew locks of open batches, and look for rarer work."""
        started = asyncio.get_running_loop().time()
        row = await self._db.fetchrow(SQL.upkeep, self.id, self.ttl, MOST_PROMOTED)
        assert row is not None  # noqa: S101 - a SELECT without FROM always has a row
        if row["alive"]:
            self.safe_until = started + self.ttl * SAFETY
        return Beat(
            row["alive"],
            row["promoted"],
            row["orphans"],
            row["overdue"],
            row["cancels"],
            row["queues"],
            row["next_fire_s"],
        )

    def forsake(self) -> None:
        """Give this incarnation up: it is never renewed again, so its leases run out and are rescued."""
        self.id = 0
        self.safe_until = 0.0

    @property
    def safe_s(self) -> float:
        """Seconds for which this process may still trust its leases."""
        return self.safe_until - asyncio.get_running_loop().time()

    async def leave(self) -> None:
        """Deregister; a node that still holds leases stays until they are rescued."""
        await self._db.execute(SQL.node_leave, self.id)
