"""Completions collect while the previous flush is in flight: one round trip when idle, big batches under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from tidemill.engine.finish import Ending, find_written, finish_all, finish_done, is_plain
from tidemill.engine.kind import Registry
from tidemill.engine.measures import Measures
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database

MOST_AT_ONCE = 1000
RETRY_S = 0.25


class Finisher:
    """Writes endings for one worker process."""

    def __init__(
        self,
        db: Database,
        registry: Registry,
        *,
        on_lost: Callable[[list[Ending]], None],
        measures: Measures | None = None,
    ) -> None:
        self._db = db
        self._registry = registry
        self._on_lost = on_lost
        self._measures = measures
        self._plain: list[Ending] = []
        self._others: list[Ending] = []
        """What waits to be written, by the statement that can."""
        self._flushing: list[Ending] = []
        self._doubtful: set[tuple[int, int]] = set()
        """Jobs and tokens whose ending was sent and not answered."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._log = structlog.get_logger("tidemill.engine")

    @property
    def unwritten(self) -> set[int]:
        """Jobs whose ending is not, or not known to be, in the database yet."""
        return {e.job.id for e in (*self._plain, *self._others, *self._flushing)}

    def add(self, ending: Ending) -> None:
        """Queue an ending for the next flush."""
        (self._plain if is_plain(ending) else self._others).append(ending)
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Wait until everything added so far is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Flush until cancelled. A database that is away is waited for: the leases decide who was too late."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._plain or self._others:
                # A flush is of one sort, and one transaction. They take turns, so that neither waits for ever.
                if self._plain:
                    await self._flush_oldest(self._plain)
                if self._others:
                    await self._flush_oldest(self._others)
            self._idle.set()

    async def _flush_oldest(self, waiting: list[Ending]) -> None:
        self._flushing = _take(waiting)
        try:
            again = await self._flush(self._flushing, plain=waiting is self._plain)
        except DatabaseUnavailable as e:
            self._log.warning("finish_waits_for_database", jobs=len(self._flushing), error=str(e))
            self._doubtful.update(_fence(e) for e in self._flushing)
            waiting[:0] = self._flushing
            await asyncio.sleep(RETRY_S)
        else:
            if self._measures is not None:
                self._measures.flush.observe(len(self._flushing))
            self._others += again
            if self._doubtful:
                self._doubtful.difference_update({_fence(e) for e in self._flushing} - {_fence(e) for e in again})
        self._flushing = []

    async def _flush(self, batch: list[Ending], *, plain: bool) -> list[Ending]:
        """Write endings of one sort; those that have to be written in the other way."""
        if plain:
            held = await finish_done(self._db, batch)
        else:
            held = await finish_all(self._db, self._registry, batch)
        if doubtful := [e for e in batch if e.job.id not in held and _fence(e) in self._doubtful]:
            held |= await find_written(self._db, doubtful)
        if len(held) == len(batch):
            return []
        missing = [e for e in batch if e.job.id not in held]
        if plain:  # to be looked for by id, with the others
            return [replace(e, job=replace(e.job, place=None)) for e in missing]
        if missing:
            self._on_lost(missing)
        return []


def _take(waiting: list[Ending]) -> list[Ending]:
    """Cut off the next flush. Answers name jobs, so of two endings of one (claimed again) the older goes first."""
    batch = waiting[:MOST_AT_ONCE]
    del waiting[:MOST_AT_ONCE]
    oldest = {e.job.id: e for e in reversed(batch)}
    if len(oldest) < len(batch):
        waiting[:0] = [e for e in batch if oldest[e.job.id] is not e]
        batch = [e for e in batch if oldest[e.job.id] is e]
    return batch


def _fence(ending: Ending) -> tuple[int, int]:
    return ending.job.id, ending.job.token
