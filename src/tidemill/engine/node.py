"""This process's incarnation: one heartbeat for all its leases.

Trust is anchored to the *start* of the last renewal that succeeded: the database counts the lease's time from a later
instant, so a process that goes by its own clock stops before Postgres would let anybody else take its jobs.

The heartbeat has a connection of its own, so that nothing that hangs stands before it. A beat that stays unanswered is
given up while there is time for two more, each on a new connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from tidemill.engine.statements import SQL
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Connection, Database, Record, connect, naming_failures

SAFETY = 0.9
"""Share of the lease's time after which handlers are stopped; the rest is for stopping them."""
ANSWER = 0.25
"""Share of the lease's time within which a beat must be answered, connecting included."""
LEAST_ANSWER_S = 1.0
"""However short the lease: a busy machine may take that long."""
REGISTER_S = 10.0
"""Seconds within which a new incarnation must be in the database: it has nothing to lose yet."""
MOST_PROMOTED = 2000


@dataclass(frozen=True, slots=True)
class Beat:
    """What one upkeep statement found."""

    alive: bool = False
    promoted: int = 0
    orphans: bool = False
    overdue: bool = False
    cancels: bool = False
    queues: Sequence[int] = ()
    per_process: Mapping[str, int] = field(default_factory=dict[str, int])
    next_fire_s: float | None = None


class Node:
    """A worker process as the database knows it.

    Args:
        db: where, and how to connect there.
        ttl: seconds of silence after which it loses its leases.
    """

    def __init__(self, db: Database, *, ttl: float, queues: Iterable[str] = ()) -> None:
        self._db = db
        self._conn: Connection | None = None
        self._queues = sorted(queues)
        self.ttl = ttl
        self.id = 0
        self.safe_until = 0.0

    async def register(self) -> None:
        """Begin a new incarnation.

        Raises:
            DatabaseUnavailable: also when there is no answer in time; then it may have begun, and runs out unused.
        """
        started = asyncio.get_running_loop().time()
        described = socket.gethostname(), os.getpid(), self.ttl, version("tidemill"), self._queues
        row = await self._ask(REGISTER_S, SQL.node_register, *described)
        self.id = row["id"]
        self.safe_until = started + self.ttl * SAFETY

    async def beat(self) -> Beat:
        """Renew, promote due jobs, renew locks of open batches, and look for rarer work.

        Raises:
            DatabaseUnavailable: also when there is no answer in time; the next beat connects anew.
        """
        started = asyncio.get_running_loop().time()
        row = await self._ask(max(LEAST_ANSWER_S, self.ttl * ANSWER), SQL.upkeep, self.id, self.ttl, MOST_PROMOTED)
        if row["alive"]:
            self.safe_until = started + self.ttl * SAFETY
        return Beat(
            row["alive"],
            row["promoted"],
            row["orphans"],
            row["overdue"],
            row["cancels"],
            row["queues"],
            row["per_process"] or {},
            row["next_fire_s"],
        )

    async def _ask(self, within: float, sql: str, *args: object) -> Record:
        """The one row of a statement, or DatabaseUnavailable within so many seconds."""
        try:
            async with asyncio.timeout(within):
                if self._conn is None:
                    self._conn = await connect(
                        self._db.url, name="tidemill heartbeat", pooled=self._db.pooled, settings=self._db.settings
                    )
                with naming_failures:
                    row = await self._conn.fetchrow(sql, *args)
        except TimeoutError as e:
            self.close()
            raise DatabaseUnavailable(f"Postgres did not answer the heartbeat within {within:.2g} s") from e
        except BaseException:
            self.close()
            raise
        assert row is not None  # noqa: S101 - both statements always answer with a row
        return row

    def close(self) -> None:
        """Cut the heartbeat's connection; the next beat has a new one."""
        if self._conn is not None:
            self._conn.terminate()
            self._conn = None

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
