"""A connector under test: its reads, committed to a store or cut short, and all that was said meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tidemill.connectors import (
    Batch,
    Connector,
    Context,
    HttpClient,
    Limits,
    ProviderError,
    Scopes,
    Stream,
    TimeBudgetSpent,
    Window,
)
from tidemill.errors import InvalidInput
from tidemill.testing.connector_suite.store import Store
from tidemill.testing.connector_suite.world import World
from tidemill.vault import Secret

Failure = ProviderError | TimeBudgetSpent | InvalidInput
MAX_CURSOR = 1_000_000
"""Characters of a cursor."""
_WORLDS = frozenset({"aiohttp.access", "aiohttp.server"})
"""Loggers of servers: what a world's own says is not the connector's word."""
_LIMITS = Limits(backoff_s=0.01, total_s=20)


@dataclass(slots=True)
class Read:
    """How a read went."""

    batches: int = 0
    error: Failure | None = None
    misses: int = 0


class Bench:
    """One connector and its world."""

    def __init__(self, connector: Connector, world: World, http: HttpClient, most_batches: int) -> None:
        self.connector = connector
        self.world = world
        self._http = http
        self._most = most_batches
        self._said: list[str] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, connector: Connector, world: World, most_batches: int) -> AsyncGenerator[Bench]:
        """With a client of its own; all that is logged meanwhile is heard."""
        async with await HttpClient.open(limits=_LIMITS) as http:
            bench = cls(connector, world, http, most_batches)
            heard = _Heard(bench._said)
            root = logging.getLogger()
            level = root.level
            root.addHandler(heard)
            root.setLevel(logging.DEBUG)
            try:
                yield bench
            finally:
                root.setLevel(level)
                root.removeHandler(heard)

    def context(self, seconds: float = 60, **secrets: str) -> Context:
        """What one run would be given; ``secrets`` in place of the world's."""
        known = {name: Secret(text) for name, text in (secrets or self.world.secrets).items()}
        return Context(
            http=self._http,
            token=known.get("token", Secret("")),
            scopes=Scopes.of(self.connector.spec.name, "suite", "account"),
            clock=lambda: datetime.now(UTC),
            deadline=time.monotonic() + seconds,
            log=_Log(self._said),
            config=self.world.config,
            secrets=known,
        )

    async def streams(self) -> list[Stream]:
        """The connector's streams."""
        return list(await self.connector.streams(self.context()))

    async def read(
        self,
        stream: Stream,
        store: Store,
        window: Window | None = None,
        *,
        context: Context | None = None,
        stop: Callable[[int], bool] = lambda number: False,
        lose: bool = False,
    ) -> Read:
        """Read from the store's cursor on, a commit a batch.

        A crash comes at the first batch (from 0) that ``stop`` names: after its commit, or with ``lose`` before it.
        """
        read = Read()
        context = context or self.context()
        try:
            batches = self.connector.read(context, stream.name, store.cursors.get(stream.name), window or Window())
            async with aclosing(batches):
                async for batch in batches:
                    self._check(batch)
                    crash = stop(read.batches)
                    if not (crash and lose):
                        store.commit(stream, batch)
                        read.misses += len(batch.misses)
                    read.batches += 1
                    if crash:
                        store.crashed(stream)
                        return read
                    if read.batches >= self._most:
                        raise AssertionError(f"{stream.name}: after {self._most} batches the read had not ended")
        except (ProviderError, TimeBudgetSpent, InvalidInput) as e:
            read.error = e
            store.crashed(stream)
            self.hear(e)
        else:
            store.ended(stream)
        return read

    def hear(self, error: BaseException) -> None:
        """Note all that an error could bring into a log."""
        self._said += everything_said(error)

    def secrets_told(self) -> list[str]:
        """The names of secrets that stand in anything said so far."""
        said = "\n".join(self._said)
        return [name for name, text in self.world.secrets.items() if text in said]

    def _check(self, batch: Batch) -> None:
        assert batch.observed_at.tzinfo is not None, "observed_at names no time zone"
        cursor: object = batch.cursor_after
        assert cursor is None or isinstance(cursor, str), f"cursor_after is no text: {cursor!r}"
        assert cursor is None or ("\x00" not in cursor and len(cursor) <= MAX_CURSOR), "this cursor cannot be stored"
        for miss in batch.misses:
            self.hear(miss.error)
            self._said.append(miss.entity)


class _Log:
    """Takes every word of a structlog-like logger."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def __getattr__(self, name: str) -> Callable[..., _Log]:
        def say(*args: object, **fields: object) -> _Log:
            self._said.append(f"{args!r} {fields!r}")
            return self

        return say


class _Heard(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._said = said
        self.addFilter(lambda record: record.name not in _WORLDS)

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(self.format(record))


def everything_said(error: BaseException) -> list[str]:
    """Every text that an error could bring into a log: its own, its causes', their attributes."""
    said: list[str] = []
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        e = queue.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        said += [str(e), repr(e), repr(e.args), repr(vars(e))]
        queue += [e.__cause__, e.__context__]
    return said


def leftover_tasks(before: set[asyncio.Task[Any]]) -> list[str]:
    """What still runs and did not before."""
    return [repr(task) for task in asyncio.all_tasks() - before if not task.done()]
