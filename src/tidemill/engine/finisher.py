"""Completions collect while the previous flush is in flight: one round trip when idle, big batches under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from tidemill.engine.finish import Ending, finish_all, finish_done, is_plain
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
        self._pending: list[Ending] = []
        self.unwritten: set[int] = set()
        """Jobs whose ending is not, or not known to be, in the database yet."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._log = structlog.get_logger("tidemill.engine")

    def add(self, ending: Ending) -> None:
        """Queue an ending for the next flush."""
        self._pending.append(ending)
        self.unwritten.add(ending.job.id)
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
            while self._pending:
                # A flush is of one sort, and one transaction: of two, one could be repeated that had been written, and
                # look lost. The oldest ending says which sort, so that neither waits for ever.
                plain = is_plain(self._pending[0])
                batch = [e for e in self._pending if is_plain(e) == plain][:MOST_AT_ONCE]
                taken = {id(e) for e in batch}
                self._pending = [e for e in self._pending if id(e) not in taken]
                try:
                    if plain:
                        held = await finish_done(self._db, batch)
                    else:
                        held = await finish_all(self._db, self._registry, batch)
                except DatabaseUnavailable as e:
                    self._log.warning("finish_waits_for_database", jobs=len(batch), error=str(e))
                    self._pending = batch + self._pending
                    await asyncio.sleep(RETRY_S)
                    continue
                if self._measures is not None:
                    self._measures.flush.observe(len(batch))
                missing = [e for e in batch if e.job.id not in held]
                if plain and missing:  # to be looked for by id, with the others
                    self._pending += [replace(e, job=replace(e.job, place=None)) for e in missing]
                    batch, missing = [e for e in batch if e.job.id in held], []
                self.unwritten.difference_update(e.job.id for e in batch)
                if missing:
                    self._on_lost(missing)
            self._idle.set()
