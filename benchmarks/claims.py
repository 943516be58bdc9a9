"""Claims without a worker: one node that asks again and again, timed, or explained with the buffers that it touched."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tidemill.engine.claims import MOST_LANES
from tidemill.engine.statements import SQL
from tidemill.engine.worker import MOST_CLAIMED
from tidemill.postgres import Connection, connect

NODE_S = 7200.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one claim came to.

    Attributes:
        jobs: taken.
        ms: of the statement; as seen from outside, or of its execution where it was explained.
        buffers: pages touched, in memory or read; 0 where it was not explained.
    """

    jobs: int
    ms: float
    buffers: int = 0


class Claims:
    """The claims of one node on one queue."""

    def __init__(self, conn: Connection, queue: int, node: int) -> None:
        self._conn = conn
        self._queue = queue
        self._node = node
        self._lane_after = -1

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, queue: str = "default") -> AsyncGenerator[Claims]:
        """On a connection of its own, with the statement prepared there."""
        conn = await connect(url, name="benchmark")
        try:
            number = await conn.fetchval("select id from tidemill.queue where name = $1", queue)
            node = await conn.fetchval(SQL.node_register, "benchmark", 1, NODE_S, "0", [])
            # As SQL, so that EXPLAIN shows the plan that the server would keep for a worker's prepared statement.
            await conn.execute(f"prepare claim as {SQL.claim}")
            yield cls(conn, number, node)
        finally:
            conn.terminate()

    async def look(self) -> Claimed:
        """Claim as a worker with free slots would, and give it all back."""
        await self._conn.execute("begin")
        started = time.perf_counter()
        rows = await self._conn.fetch(SQL.claim, *self._arguments())
        ms = (time.perf_counter() - started) * 1000
        await self._conn.execute("rollback")
        self._lane_after = rows[0]["lane_after"]
        return Claimed(sum(row["id"] is not None for row in rows), ms)

    async def explain(self) -> Claimed:
        """Claim, and be told what it cost. Always from the first lane on: the answer does not tell where it stopped."""
        self._lane_after = -1
        values = ", ".join(str(value) for value in self._arguments())
        found: Any = await self._conn.fetchval(
            f"explain (analyze, buffers, timing off, format json) execute claim ({values})"
        )
        told = (json.loads(found) if isinstance(found, str) else found)[0]
        plan = told["Plan"]
        return Claimed(
            jobs=_taken(plan),
            ms=told["Execution Time"],
            buffers=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        )

    def _arguments(self) -> tuple[int | bool, ...]:
        return (self._queue, self._node, MOST_CLAIMED, MOST_LANES, self._lane_after, 0, False)


def _taken(plan: dict[str, Any]) -> int:
    """Rows that the claim moved into job_lease."""
    if plan.get("Operation") == "Insert" and plan.get("Relation Name") == "job_lease":
        return int(plan["Actual Rows"])
    return sum(_taken(part) for part in plan.get("Plans", []))
