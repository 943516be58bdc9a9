"""Runs due jobs one after the other, as a worker would: claimed, run and finished by the engine's own statements."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from tidemill.app import Rooms, Tidemill
from tidemill.engine import Context, Engine, Job, Kind, Outcome, Registry
from tidemill.engine.cancel import heed_cancels
from tidemill.engine.claims import Claims
from tidemill.engine.deadlines import Deadlines
from tidemill.engine.declare import declare_kinds
from tidemill.engine.finish import Ending, finish_all
from tidemill.engine.node import Node
from tidemill.engine.rescue import end_overdue_batch, rescue_orphans
from tidemill.engine.runner import run_job
from tidemill.testing.statements import SQL

LEASE_S = 86_400.0
"""Of a test's jobs: there is no heartbeat between two steps."""

within_a_job: ContextVar[bool] = ContextVar("within_a_job", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that was run.

    Attributes:
        outcome: ``done``, ``partial``, ``skipped``, ``cancelled``, ``failed``, ``retry``, ``dead``, ``snooze``, or
            ``lost`` when the lease was lost meanwhile, so that nothing was written.
        reason: why, as it is recorded.
        result: what the handler returned.
        error: what the handler raised; a TimeoutError when its time was up.
    """

    job: Job
    outcome: str
    reason: str | None
    result: Any
    error: Exception | None

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<{self.job.kind} {self.job.id}, attempt {self.job.attempt}: {self.outcome}{why}>"


@dataclass(frozen=True, slots=True)
class Drained:
    """What was run, in that order. A job that was tried several times has several attempts."""

    attempts: list[Attempt]

    @property
    def counts(self) -> dict[str, int]:
        """How many attempts had which outcome."""
        return dict(Counter(attempt.outcome for attempt in self.attempts))

    @property
    def failed(self) -> list[Attempt]:
        """Those that came to nothing: ``retry``, ``dead``, ``failed`` or ``lost``."""
        return [attempt for attempt in self.attempts if attempt.outcome in ("retry", "dead", "failed", "lost")]


class Stepper:
    """A worker that is turned by hand."""

    def __init__(self, app: Tidemill, rooms: Rooms) -> None:
        self._app = app
        self._rooms = rooms
        self._db = rooms.db
        self._errors: dict[int, Exception] = {}
        """By token: what handlers raised. The engine keeps only the text."""
        kinds = [replace(kind, handler=self._watched(kind)) for kind in rooms.engine.registry]
        self._engine = Engine(rooms.db, Registry(kinds), budgets=rooms.engine.budgets.declared)
        self._node = Node(rooms.db, ttl=LEASE_S)
        self._deadlines = Deadlines()
        self.queues = self._engine.registry.queues
        self._claims = {queue: Claims(queue, self._engine, self._node) for queue in self.queues}
        self.running = False
        """Whether a job is run just now: then another step follows."""

    async def start(self) -> None:
        """Make itself and the kinds known to the database."""
        registry = self._engine.registry
        await self._engine.names.learn(self._db, [kind.name for kind in registry], self.queues)
        await declare_kinds(self._db, registry)
        await self._engine.declare_limits(self._db)
        await self._engine.budgets.declare(self._db)
        await self._node.register()

    async def close(self) -> None:
        """Leave."""
        await self._node.leave()
        self._node.close()
        await self._engine.close()

    async def due(self, queues: Iterable[str]) -> list[str]:
        """Make ready what is due, by whatever clock; those of the queues that have ready jobs and are not paused."""
        beat = await self._node.beat()
        if not beat.alive:  # a test that cleans up by itself may have emptied the table
            await self._node.register()
        if beat.orphans:
            await rescue_orphans(self._engine, self._db)
        if beat.overdue:
            await end_overdue_batch(self._engine, self._db, self._node.id)
        if beat.cancels:
            await heed_cancels(self._engine, self._db, self._node.id)
        if beat.promoted or beat.orphans or beat.overdue:  # the beat did not see what became ready by it
            beat = await self._node.beat()
        return [queue for queue in queues if self._engine.names.queue(queue) in beat.queues]

    async def step(self, queues: Iterable[str]) -> Attempt | None:
        """Run one job that is due; None when there is none."""
        for queue in await self.due(queues):
            if (job := await self._claim(queue)) is not None:
                return await self._run(job, queue)
        return None

    async def wait(self, queues: Iterable[str]) -> bool:
        """Move the clock to where the next job of the queues is due; False when none is delayed."""
        return await self._db.fetchval(SQL.to_next_delayed, list(queues)) is not None

    async def _claim(self, queue: str) -> Job | None:
        """The next job, of the lane whose turn it is; None after a while of finding nothing."""
        claims = self._claims[queue]
        claims.refresh()
        while True:
            async with self._db.connection() as conn:
                jobs = await claims.take(conn, 1, known=frozenset)
            if jobs or not claims.again:
                return jobs[0] if jobs else None

    async def _run(self, job: Job, queue: str) -> Attempt:
        self.running = True
        try:
            # To the job the application is what its worker opened, even if the code under test has opened it elsewhere.
            with mock.patch.object(self._app, "_rooms", self._rooms):
                # A task of its own, as in a worker: a time limit cancels the task that it was begun in.
                ending = await asyncio.create_task(run_job(self._engine, job, self._deadlines, queue))
        except asyncio.CancelledError:
            await finish_all(self._db, self._engine.registry, [Ending(job, "release")])
            raise
        finally:
            self.running = False
        if ending is not None and job.id not in await finish_all(self._db, self._engine.registry, [ending]):
            ending = None
        error = self._errors.pop(job.token, None)
        if ending is None:
            return Attempt(job=job, outcome="lost", reason="the lease was lost", result=None, error=error)
        if error is None and ending.outcome in ("retry", "dead"):
            error = TimeoutError(ending.reason)
        return Attempt(job=job, outcome=ending.outcome, reason=ending.reason, result=ending.result, error=error)

    def _watched(self, kind: Kind) -> Any:
        async def handler(ctx: Context, args: dict[str, Any]) -> Outcome | None:
            within_a_job.set(True)  # the task is the job's own
            try:
                return await kind.handler(ctx, args)
            except Exception as e:
                self._errors[ctx.job.token] = e
                raise

        return handler
