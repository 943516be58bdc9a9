"""A worker process: claims jobs, runs them side by side, keeps its leases alive, stops gracefully."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from tidemill.engine import due
from tidemill.engine.claims import Claims
from tidemill.engine.control import SETTINGS
from tidemill.engine.declare import declare_kinds
from tidemill.engine.due import DueSource, Ticked, tick_always, tick_when_told
from tidemill.engine.engine import Engine
from tidemill.engine.finisher import Finisher
from tidemill.engine.housekeeping import Retention, keep_house_always
from tidemill.engine.measures import Measures
from tidemill.engine.node import Beat, Node
from tidemill.engine.rescue import end_overdue_batch, rescue_orphans
from tidemill.engine.running import Running
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database

if TYPE_CHECKING:
    from tidemill.postgres import Listener

POLL_S = 1.0
"""Between two beats, each of which looks for jobs that no notification has told of."""
POLL_DEAF_S = 0.25
POLL_HEARING_S = 5.0
"""Between two claims of an idle queue whose notifications come through; the beat looks more often."""
MOST_CLAIMED = 500
PACE_S = 0.002
"""From a claim that took all there was to the next one: while jobs keep coming one by one, what comes within shares a
claim and an ending, instead of costing whoever enqueues them half of the server."""
ENDINGS_S = 10.0
"""For how long, at least, a stop waits for the last endings to be written."""
CHANNEL = "tidemill_job"

_log = structlog.get_logger("tidemill.engine")


class Worker:
    """Runs jobs of the engine's registered kinds until :meth:`stop`.

    Args:
        engine: whose kinds to run; its ``db`` serves the handlers.
        control: a small pool of its own for claims, finishes and the heartbeat, so that handlers cannot starve them.
        queues: queue → how many jobs to run side by side.
        listener: not yet started; wakes the claim loops. Polling backs it always.
        lease_ttl: seconds of silence after which this process loses its jobs.
        grace: seconds that running handlers get on :meth:`stop` before they are cancelled and given back.
        schedules: ticked when the next fire is due.
        sources: of other jobs that are due; each is ticked by a task of its own.
        retention: for how long what jobs leave behind is kept.
        measures: filled while it works; None costs nothing.
    """

    def __init__(
        self,
        engine: Engine,
        control: Database,
        *,
        queues: Mapping[str, int],
        listener: Listener | None = None,
        lease_ttl: float = 15.0,
        grace: float = 25.0,
        schedules: Ticked | None = None,
        sources: Sequence[DueSource] = (),
        retention: Retention | None = None,
        measures: Measures | None = None,
    ) -> None:
        self._engine = engine
        self._control = control
        self._queues = dict(queues)
        self._listener = listener
        self._grace = grace
        self._schedules = schedules
        self._sources = {source.name: (source, asyncio.Event()) for source in sources}
        self._retention = retention
        self.measures = measures
        self.node = Node(control, ttl=lease_ttl, queues=queues)
        self._running = Running(engine, self.node, queues=queues, on_free=self._look_again, measures=measures)
        self._finisher = Finisher(control, engine.registry, on_lost=self._running.count_lost, measures=measures)
        self._claims = {queue: Claims(queue, engine, self.node, measures) for queue in self._queues}
        self._scaled: dict[str, int] = {}
        """What an operator set in place of ``queues``."""
        self._wakes = {queue: asyncio.Event() for queue in self._queues}
        self._called: dict[str, str] = {}
        """The queues by what notifications call them."""
        self._beat = Beat()
        """The newest one, for the upkeep."""
        self._shaken = False
        """Whether the database was away since it was last asked which leases it knows of."""
        self._beaten = asyncio.Event()
        self._due = asyncio.Event()
        self._stopping = asyncio.Event()
        self.started = asyncio.Event()

    def stop(self) -> None:
        """Ask for a graceful stop: claim nothing more, let handlers finish within the grace, give the rest back."""
        self._stopping.set()
        for wake in self._wakes.values():
            wake.set()

    @property
    def running(self) -> Mapping[str, int]:
        """Jobs that run here now, by queue."""
        return self._running.by_queue

    @property
    def lost(self) -> int:
        """Jobs whose lease this process lost."""
        return self._running.lost

    @property
    def hears(self) -> bool | None:
        """Whether notifications arrive; None when it was given no listener."""
        return None if self._listener is None else self._listener.healthy

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            DatabaseUnavailable: when the database cannot be reached at the start; later outages are waited out.
        """
        await self._engine.names.learn(self._control, [kind.name for kind in self._engine.registry], self._queues)
        await declare_kinds(self._control, self._engine.registry)
        await self._engine.declare_limits(self._control)
        await self._engine.budgets.declare(self._control)
        await self.node.register()
        self._called = {str(self._engine.names.queue(queue)): queue for queue in self._queues}
        if self._listener is not None:
            self._listener.to_lend({**SETTINGS, "synchronous_commit": "off"})
            self._listener.on(CHANNEL, self._wake)
            self._listener.on(due.CHANNEL, self._wake_source)
            await self._listener.start()
        finisher = asyncio.create_task(self._finisher.run(), name="finisher")
        loops = [
            asyncio.create_task(self._keep_alive(), name="heartbeat"),
            asyncio.create_task(self._upkeep(), name="upkeep"),
            *self._tickers(),
            asyncio.create_task(self._watch(), name="watchdog"),
            asyncio.create_task(keep_house_always(self._control, self._retention), name="housekeeping"),
            *(asyncio.create_task(self._claim_loop(queue), name=f"claim {queue}") for queue in self._queues),
        ]
        self.started.set()
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            # A loop never returns before the stop: if one does, it raised, and the worker must not go on without it.
            await asyncio.wait([stopping, finisher, *loops], return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await self._drain()
        finally:
            for task in (stopping, finisher, *loops, *self._running.tasks):
                task.cancel()
            ended = await asyncio.gather(finisher, *loops, return_exceptions=True)
            await asyncio.gather(*self._running.tasks, return_exceptions=True)
            self.node.close()
            if self._listener is not None:
                await self._listener.close()
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome
        await self._leave()

    async def _drain(self) -> None:
        """Let running handlers finish, then cancel and release the rest; all endings are written."""
        if self._running.tasks:
            _log.info("draining", jobs=len(self._running.tasks), grace_s=self._grace)
            await asyncio.wait(list(self._running.tasks), timeout=self._grace)
        for task in list(self._running.tasks):
            task.cancel()
        if self._running.tasks:
            await asyncio.wait(list(self._running.tasks), timeout=self._grace)
        try:
            async with asyncio.timeout(max(self._grace, ENDINGS_S)):
                await self._finisher.drained()
        except TimeoutError:
            _log.error("endings_unwritten", note="the leases run out and the jobs are run again")

    async def _leave(self) -> None:
        try:
            await self._engine.progress.settle()
            await self.node.leave()
        except DatabaseUnavailable as e:
            _log.warning("leave_failed", error=str(e))

    # Claiming --------------------------------------------------------------------------------------------------------

    def _wake(self, payload: str) -> None:
        """A notification: payload is a queue's int if it has new jobs, empty if anything may have happened."""
        if payload in self._called:
            self._wakes[self._called[payload]].set()
        elif not payload:
            for queue in self._wakes:
                self._look_closer(queue)

    def _look_closer(self, queue: str) -> None:
        """Wake a claim loop for more than new jobs."""
        self._claims[queue].closer = True
        self._wakes[queue].set()

    def _look_again(self, queue: str) -> None:
        """A job has ended: it made room, if there was none; what else may begin now, a notification tells of."""
        if self.hears is not True or self._running.by_queue[queue] + 1 >= self._most(queue):
            self._look_closer(queue)

    def _most(self, queue: str) -> int:
        return self._scaled.get(queue, self._queues[queue])

    def _wake_source(self, payload: str) -> None:
        for name, (_, woken) in self._sources.items():
            if not payload or payload == name:
                woken.set()

    async def _claim_loop(self, queue: str) -> None:
        wake, clock = self._wakes[queue], asyncio.get_running_loop().time
        while not self._stopping.is_set():
            wake.clear()
            free = min(MOST_CLAIMED, self._most(queue) - self._running.by_queue[queue])
            next_at = 0.0
            if free > 0 and self.node.safe_s > 0:
                if await self._claim(queue, free):
                    continue
                next_at = clock() + PACE_S
                await asyncio.sleep(0)  # what was claimed begins first
            await self._wait(queue)
            if (early_s := next_at - clock()) > 0:
                await asyncio.sleep(early_s)
            self._claims[queue].refresh()

    async def _claim(self, queue: str, free: int) -> bool:
        """Start up to ``free`` jobs; whether to look again at once."""
        claims = self._claims[queue]
        # A few jobs, mostly one that has just come, are taken on the connection that told of it.
        told = self._listener.lend() if claims.rested and self._listener is not None else None
        try:
            if told is not None:
                async with told as conn:
                    jobs = await claims.take_few(conn, free, known=self._known)
            else:
                async with self._control.connection() as conn:
                    jobs = await claims.take(conn, free, known=self._known)
        except DatabaseUnavailable as e:
            _log.warning("claim_waits_for_database", error=str(e))
            claims.doubt()
            return False
        for job in jobs:
            self._running.start(job, queue, self._finisher)
        return claims.again

    def _known(self) -> set[int]:
        """The jobs that run here, or whose ending is still to be written."""
        return self._finisher.unwritten.union(job.id for _, job in self._running.tasks.values())

    async def _wait(self, queue: str) -> None:
        deaf, at_most = self._listener is None or not self._listener.healthy, self._claims[queue].wait_s
        poll = (POLL_DEAF_S if deaf else POLL_HEARING_S) * (0.75 + random.random() / 2)  # noqa: S311 - spreads polls
        if at_most is not None:
            poll = min(poll, max(at_most, 0.01))
        alarm = asyncio.get_running_loop().call_later(poll, self._look_closer, queue)
        try:
            await self._wakes[queue].wait()
        finally:
            alarm.cancel()

    # Upkeep ----------------------------------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        """The heartbeat; what else a beat found is left to the upkeep, which may have to wait for a connection."""
        interval = min(POLL_S, self.node.ttl / 5)
        while not self._stopping.is_set() or self._running.tasks:
            pause = interval
            try:
                beat = await self.node.beat()
                if not beat.alive:
                    await self._reincarnate()
                self._scale(beat.per_process)
                for queue in beat.queues:  # what no notification has told of
                    if str(queue) in self._called:
                        self._look_closer(self._called[str(queue)])
                self._beat = beat
                self._beaten.set()
                if beat.next_fire_s is not None and self._schedules is not None:
                    if beat.next_fire_s <= 0:
                        self._due.set()
                    else:
                        pause = min(pause, beat.next_fire_s)
            except DatabaseUnavailable as e:
                self._shaken = True
                _log.warning("heartbeat_waits_for_database", error=str(e), safe_s=round(self.node.safe_s, 2))
                pause = interval / 6  # there is no time to lose
            await asyncio.sleep(pause)

    async def _upkeep(self) -> None:
        while True:
            await self._beaten.wait()
            self._beaten.clear()
            try:
                await self._look_after(self._beat)
            except DatabaseUnavailable as e:
                _log.warning("upkeep_waits_for_database", error=str(e))

    def _tickers(self) -> list[asyncio.Task[None]]:
        tickers = {
            name: tick_always(source, woken, lambda: self.hears is True)
            for name, (source, woken) in self._sources.items()
        }
        if self._schedules is not None:
            tickers["schedules"] = tick_when_told(self._schedules, self._due)
        return [asyncio.create_task(ticker, name=name) for name, ticker in tickers.items()]

    async def _look_after(self, beat: Beat) -> None:
        if beat.orphans:
            await rescue_orphans(self._engine, self._control)
        if beat.overdue:
            await end_overdue_batch(self._engine, self._control, self.node.id)
        if beat.cancels:
            await self._running.stop_cancelled(self._control)
        if self._shaken:
            await self._stop_forgotten()

    def _scale(self, per_process: Mapping[str, int]) -> None:
        ids = {str(self._engine.names.queue(queue)): queue for queue in self._queues} if per_process else {}
        self._scaled = {ids[queue]: most for queue, most in per_process.items() if queue in ids}

    async def _stop_forgotten(self) -> None:
        self._shaken = False  # before it asks: what happens meanwhile counts anew
        try:
            await self._running.stop_forgotten(self._control)
        except BaseException:
            self._shaken = True
            raise

    async def _watch(self) -> None:
        """Stop handlers before the database would give their jobs to somebody else."""
        while True:
            if self._running.tasks and self.node.safe_s <= 0:
                self._running.abandon("the heartbeat did not get through in time")
            await asyncio.sleep(min(0.25, self.node.ttl / 20))

    async def _reincarnate(self) -> None:
        self._running.abandon("the database no longer knows this process")
        await self.node.register()
