"""Claiming from one queue: the round over its lanes, jobs under a limit, and claims whose answer was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from tidemill.engine.engine import Engine
from tidemill.engine.job import Job
from tidemill.engine.measures import Measures
from tidemill.engine.node import Node
from tidemill.engine.rescue import jobs_of
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Record

MOST_LANES = 50
"""Lanes that one claim takes from. Fewer cost it less, each as much as one or two jobs; more bring thousands of tenants
their turn sooner."""
FEW = 4
"""Jobs that the first claim after a wait takes; where there are more, the next one follows at once."""
MOST_DRY = 8
"""Claims, one after the other, that gave nothing although there was work: then it is left to the next wake."""
LOST_ANSWER_S = 120.0
"""For how long after a lost answer every claim first looks for what that one took."""
RECOUNT_S = 30.0
"""Between two such looks at other times: a network may deliver a claim long after its sender gave it up."""


class Claims:
    """One process's claims from one queue.

    Attributes:
        again: whether there may be more to claim now. That a claim came back empty does not say that there is no work:
            other claims may hold it.
        closer: whether the next claim has to look at all there is, jobs with room under a limit among it. Otherwise it
            is new jobs that have come.
        rested: whether that is so after a wait for work: mostly one job has come, and :meth:`take_few` is enough.
    """

    def __init__(self, queue: str, engine: Engine, node: Node, measures: Measures | None = None) -> None:
        self._queue = queue
        self._engine = engine
        self._node = node
        self._measures = measures
        self._lane_after: int = -1
        self._owed: int = 0
        """What is left of the share of the lane that comes next; 0 = all of it."""
        self._dry = 0
        self._limited = False
        """Whether there may be jobs under a limit that can begin now."""
        self._in_doubt_until = 0.0
        self._recount_at = 0.0
        self.again = False
        self.closer = True
        self.rested = False
        self._room_at: float | None = None
        """When a rate has room again, by the loop's clock, if one keeps jobs waiting."""

    @property
    def wait_s(self) -> float | None:
        """Seconds after which a rate has room again, if one keeps jobs waiting."""
        return None if self._room_at is None else max(self._room_at - asyncio.get_running_loop().time(), 0.0)

    async def take_few(self, conn: Connection, most: int, *, known: Callable[[], Collection[int]]) -> list[Job]:
        """:meth:`take` of a few, by a short statement that looks at nothing but new jobs.

        ``conn`` is a session whose commits do not wait for the disk, as those of :meth:`take` do not.
        """
        rows = await self._recount(conn, known)
        self.rested = False
        asked, most = asyncio.get_running_loop().time(), min(most, FEW)
        queue = self._engine.names.queue(self._queue)
        found = await conn.fetch(SQL.claim_few, queue, self._node.id, most, self._measures is not None)
        few = self._taken(found, asked)
        self.again = found[0]["closer"] or len(few) == most
        return await self._jobs_of(conn, rows + few)

    async def take(self, conn: Connection, most: int, *, known: Callable[[], Collection[int]]) -> list[Job]:
        """Lease up to ``most`` jobs, in the order in which they are to begin; ``known`` are those this process has."""
        rows = await self._recount(conn, known)
        self.rested = self.closer = self.again = False
        if self.wait_s == 0.0:  # it is looked at now
            self._room_at = None
        if self._limited:  # half of what is free is theirs, so that neither sort keeps the other waiting
            rows += await self._take_limited(conn, -(-most // 2))
        if len(rows) < most:
            rows += await self._take_free(conn, most - len(rows))
        if self._limited and len(rows) < most:
            rows += await self._take_limited(conn, most - len(rows))
        self._dry = 0 if rows else self._dry + 1
        self.again = (self.again or self._limited) and self._dry < MOST_DRY
        return await self._jobs_of(conn, rows)

    async def _jobs_of(self, conn: Connection, rows: list[Record]) -> list[Job]:
        jobs = await jobs_of(self._engine, conn, rows)
        if len(jobs) < 2:
            return jobs
        # DELETE … RETURNING answers in physical order.
        ordered = sorted(zip(jobs, rows, strict=True), key=lambda pair: (pair[1]["rank"], pair[0].id))
        return [job for job, _ in ordered]

    def doubt(self) -> None:
        """A claim was not answered: it may have taken jobs all the same."""
        self.again, self.closer = False, True
        self._in_doubt_until = asyncio.get_running_loop().time() + LOST_ANSWER_S

    def refresh(self) -> None:
        """After a wait: what gave nothing may be tried again."""
        self._dry = 0
        self.rested = not self.again and not self.closer

    async def _take_free(self, conn: Connection, most: int) -> list[Record]:
        queue = self._engine.names.queue(self._queue)
        asked = asyncio.get_running_loop().time()
        measured = self._measures is not None
        found = await conn.fetch(
            SQL.claim, queue, self._node.id, most, _lanes_of(most), self._lane_after, self._owed, measured
        )
        told = found[0]
        self._lane_after, self._owed, self._limited = told["lane_after"], told["owed"], told["limited"]
        self.again = told["more"]
        return self._taken(found, asked)

    async def _take_limited(self, conn: Connection, most: int) -> list[Record]:
        queue = self._engine.names.queue(self._queue)
        asked = asyncio.get_running_loop().time()
        found = await conn.fetch(SQL.claim_limited, queue, self._node.id, most)
        self._limited = bool(found) and found[-1]["more"]
        wait_s = found[-1]["wait_s"] if found else None
        self._room_at = None if wait_s is None else asyncio.get_running_loop().time() + wait_s
        return self._taken(found, asked)

    def _taken(self, found: list[Record], asked: float) -> list[Record]:
        rows = [row for row in found if row["id"] is not None]
        if self._measures is not None:
            seconds = asyncio.get_running_loop().time() - asked
            self._measures.claimed(self._queue, [row["waited_s"] for row in rows], seconds)
        return rows

    async def _recount(self, conn: Connection, known: Callable[[], Collection[int]]) -> list[Record]:
        """Jobs that an earlier claim took without our hearing of it."""
        now = asyncio.get_running_loop().time()
        if now >= self._in_doubt_until and now < self._recount_at:
            return []
        queue = self._engine.names.queue(self._queue)
        found = await conn.fetch(SQL.claimed, queue, self._node.id, list(known()))
        self._recount_at = now + RECOUNT_S
        return found


def _lanes_of(most: int) -> int:
    """Lanes that a claim of ``most`` jobs takes from: so many that equal shares of them come to nearly ``most``."""
    return most // -(-most // MOST_LANES)
