"""The jobs that run in this process, and the ways in which they are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

import structlog

from tidemill.engine.cancel import heed_cancels
from tidemill.engine.deadlines import Deadlines
from tidemill.engine.engine import Engine
from tidemill.engine.finish import Ending
from tidemill.engine.finisher import Finisher
from tidemill.engine.job import Job
from tidemill.engine.measures import Measures
from tidemill.engine.node import Node
from tidemill.engine.runner import run_job
from tidemill.engine.statements import SQL
from tidemill.postgres import Database

_log = structlog.get_logger("tidemill.engine")


class Running:
    """Runs claimed jobs, a task for each, and hands their endings to the finisher.

    Args:
        on_free: called with the queue of each job that has ended.

    Attributes:
        by_queue: how many run.
        lost: jobs whose lease this process lost.
    """

    def __init__(
        self,
        engine: Engine,
        node: Node,
        *,
        queues: Iterable[str],
        on_free: Callable[[str], None],
        measures: Measures | None = None,
    ) -> None:
        self._engine = engine
        self._node = node
        self._on_free = on_free
        self._measures = measures
        self._deadlines = Deadlines()
        self.tasks: dict[asyncio.Task[object], tuple[str, Job]] = {}
        """What runs here, of which queue and job."""
        self._asked: dict[asyncio.Task[object], str] = {}
        """What was asked to stop, and the reason for its ending."""
        self.by_queue = dict.fromkeys(queues, 0)
        self.lost = 0

    def start(self, job: Job, queue: str, finisher: Finisher) -> None:
        """Run a claimed job."""
        if self._measures is None:
            running = self._run(job, queue, finisher)
        else:
            running = self._measured(job, queue, finisher, self._measures)
        task = asyncio.create_task(running)
        self.tasks[task] = queue, job
        self.by_queue[queue] += 1
        task.add_done_callback(self._reap)

    def count_lost(self, endings: list[Ending]) -> None:
        """Endings that could not be written, since the jobs had passed to somebody else."""
        self.lost += len(endings)
        _log.warning("lease_lost", jobs=[e.job.id for e in endings], note="nothing was written for them")

    async def stop_cancelled(self, db: Database) -> None:
        """Stop what somebody asked to stop."""
        stops = {stop.token: stop for stop in await heed_cancels(self._engine, db, self._node.id)}
        for task, (_, job) in self.tasks.items():
            stop = stops.get(job.token)
            if stop is not None and stop.job == job.id and task not in self._asked:
                self._asked[task] = stop.reason
                task.cancel()

    async def stop_forgotten(self, db: Database) -> None:
        """Stop what runs under a claim that a crash of the server made it forget: the job waits again."""
        running = {(job.id, job.token): task for task, (_, job) in self.tasks.items()}
        ids, tokens = [job for job, _ in running], [token for _, token in running]
        for gone in await db.fetch(SQL.leases_gone, ids, tokens, self._node.id):
            task = running[gone["id"], gone["token"]]
            if not task.done():
                _log.warning("claim_forgotten", job=gone["id"], note="its handler is stopped; it runs again")
                task.cancel()

    def abandon(self, why: str) -> None:
        """Give up the incarnation and everything that runs under it."""
        self._node.forsake()
        # A handler that was stopped before may still be cleaning up: its loss is told already.
        stopped = {task: job.id for task, (_, job) in self.tasks.items() if not task.cancelling()}
        for task in stopped:
            task.cancel()
        if stopped:
            self.lost += len(stopped)
            _log.warning("leases_lost", jobs=sorted(stopped.values()), why=why, note="their handlers are stopped")

    def _reap(self, task: asyncio.Task[object]) -> None:
        queue, _ = self.tasks.pop(task)
        self._asked.pop(task, None)
        self.by_queue[queue] -= 1
        self._on_free(queue)

    async def _measured(self, job: Job, queue: str, finisher: Finisher, measures: Measures) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        ending = await self._run(job, queue, finisher)
        if ending is not None:
            measures.ran(job.kind, ending.outcome, loop.time() - started)

    async def _run(self, job: Job, queue: str, finisher: Finisher) -> Ending | None:
        """Run to the end; what is to be written of it, None when the lease was lost."""
        try:
            ending = await run_job(self._engine, job, self._deadlines, queue)
        except asyncio.CancelledError:
            if self._node.id != job.node or self._node.safe_s <= 0:
                return None  # the lease is lost or about to be: rescue owns the job now
            asked = self._asked.get(cast("asyncio.Task[object]", asyncio.current_task()))
            ending = Ending(job, "cancelled", reason=asked, orphaned=True) if asked else Ending(job, "release")
        if self._node.id != job.node:
            return None  # given up and reported with all others of its incarnation
        if ending is None:
            self.lost += 1
        else:
            finisher.add(ending)
        return ending
