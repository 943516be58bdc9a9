"""One attempt of one run of a company's sync job."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from tidemill.connectors import Connector
from tidemill.connectors import Context as ReadContext
from tidemill.engine import Context
from tidemill.errors import TidemillError
from tidemill.postgres import Connection
from tidemill.sync.jobs.statements import SQL


class RunGone(TidemillError):
    """The run was ended by somebody else, or deleted with its job: there is nothing more to do."""


@dataclass(slots=True, kw_only=True)
class Run:
    """What a job type is given.

    Attributes:
        ctx: the engine's side: log, deadline.
        id, job, company: the run, its sync job, the tenant.
        attempt: which try this is, 1 for the first.
        provider, connector_id, config: the company's connector, and what it says of it.
        payload: the job's, as it was when the run was asked for.
        trigger: what asked for it: ``schedule``, ``manual``, …
        fire_at: the fire of the schedule that it stands for; None when it was asked for.
        connector, read: the provider's connector, and the context to give it.
        progressed: whether this attempt has committed something.
        actions: what it changed beyond the ordinary; stands in ``applied_actions`` once the run has ended.
    """

    ctx: Context
    id: UUID
    job: UUID
    company: UUID
    attempt: int
    provider: str
    connector_id: UUID
    config: dict[str, Any]
    payload: dict[str, Any]
    trigger: str
    fire_at: datetime | None
    connector: Connector
    read: ReadContext
    progressed: bool = False
    actions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @asynccontextmanager
    async def transaction(self, *, progress: bool = True) -> AsyncGenerator[Connection]:
        """A transaction that commits only while the run is ours; what it commits counts as progress.

        Args:
            progress: False for what the next attempt would do once more, so that a run that fails at the same place
                again and again does not go on at once for ever.

        Raises:
            LeaseLost: when the run passed to somebody else; nothing written inside is kept.
            RunGone: when it was ended, or deleted with its job; to be let pass.
        """
        async with self.ctx.transaction() as conn:
            if not await conn.fetchval(SQL.run_held, self.id):
                raise RunGone(f"run {self.id} is over")
            yield conn
        self.progressed = self.progressed or progress
