"""The source of sync jobs: plans them, fires them, takes up what was asked for. Any number of nodes tick it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tidemill.connectors import Connector
from tidemill.engine import Engine
from tidemill.postgres import Database
from tidemill.sync.jobs.asked import Asked
from tidemill.sync.jobs.firing import Firing
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.knowing import Knowing
from tidemill.sync.jobs.planning import Planning
from tidemill.sync.jobs.statements import SQL

LONGEST_S = 3.0
"""Seconds after which a tick begins nothing further."""
TURN_S = 1.0
"""Seconds that planning, firing and taking up get each before it is the next one's turn."""
BUSY_S = 0.25
"""Until the next tick where other nodes are at all there is, or a run before has not quite ended."""


class SyncJobSource:
    """See the module. What is due is shared out among companies: the first of each, then the second of each, …"""

    def __init__(
        self, db: Database, engine: Engine, types: Mapping[str, JobType], connectors: Mapping[str, Connector]
    ) -> None:
        self._db = db
        self._types = types
        self._knowing = Knowing(db, types)
        self._planning = Planning(db, types)
        self._firing = Firing(db, engine, types, connectors)
        self._asked = Asked(db, engine, types, connectors)

    @property
    def name(self) -> str:
        """The table, as its triggers tell of it."""
        return "sync_jobs"

    async def tick(self) -> float | None:
        """Do all that is to be done by ``tidemill.now()``; in how many seconds the next job is due.

        Only jobs of types that this process knows are planned and fired: during a deployment the others belong to newer
        ones. Those that none of them knows are told so.
        """
        if not self._types:
            return None
        await self._knowing.tell()
        clock = asyncio.get_running_loop().time
        give_up = clock() + LONGEST_S
        while True:
            found = await self._db.fetchrow(SQL.look, list(self._types))
            assert found is not None  # noqa: S101 - it always answers with a row
            stages = (
                (found["unplanned"], self._planning.plan),
                (found["due"], self._firing.fire),
                (found["asked"], self._asked.take_up),
            )
            if not any(wanted for wanted, _ in stages):
                return found["next_s"]
            worked = [await work(clock() + TURN_S) for wanted, work in stages if wanted]
            if not any(worked):
                return BUSY_S
            if clock() >= give_up:
                return 0.0
