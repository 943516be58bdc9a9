"""Transactions of several actors driven through each other, statement by statement, in every order there is.

An actor is a coroutine that works on a :class:`Database` of one connection, on which each statement and each commit
waits to be let go. One is let go at a time, and the next only after it has answered or waits for a lock that somebody
who stands still holds; Postgres is asked about that, so nothing here goes by time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec

from tests.conftest import administer
from tidemill.postgres import Connection, Database, connect

MOST_STEPS = 200
_ANSWERS_WITHIN_S = 0.003
"""Then the watcher is asked whether it waits for a lock; a longer answer costs a few more questions, no more."""
_MOST_LOOKS = 5000
_BLOCKERS = "select pid, pg_blocking_pids(pid) as by from unnest($1::int[]) as pid"
_FREE = ("BEGIN", "ROLLBACK")
"""Go together with the statement that follows or failed: under READ COMMITTED they see and lock nothing."""

Work = Callable[[Database], Awaitable[object]]


class SteppedConnection(asyncpg.Connection):
    """A connection whose statements wait for their turn, once it has an actor."""

    actor: Actor | None = None

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        await self._turn(query)
        return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, timeout: float | None = None, record_class: Any = None) -> Any:
        await self._turn(query)
        return await super().fetch(query, *args, timeout=timeout, record_class=record_class)

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None, record_class: Any = None) -> Any:
        await self._turn(query)
        return await super().fetchrow(query, *args, timeout=timeout, record_class=record_class)

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        await self._turn(query)
        return await super().fetchval(query, *args, column=column, timeout=timeout)

    async def _turn(self, query: str) -> None:
        if self.actor is not None and not query.startswith(_FREE):
            await self.actor.turn()


class _OnePool:
    """The part of a pool that Database needs, of one connection."""

    def __init__(self, conn: SteppedConnection) -> None:
        self._conn = conn

    async def acquire(self, *, timeout: float | None = None) -> SteppedConnection:
        return self._conn

    async def release(self, conn: SteppedConnection, *, timeout: float | None = None) -> None: ...


@asynccontextmanager
async def watching(superuser_url: str) -> AsyncGenerator[Connection]:
    """A superuser's connection that asks who waits for whom. In sessions after it deadlocks are looked for early."""
    name = urlsplit(superuser_url).path.removeprefix("/")
    await administer(superuser_url, f"alter database {name} set deadlock_timeout = '30ms'")
    conn = await connect(superuser_url, name="watcher")
    try:
        yield conn
    finally:
        conn.terminate()


@asynccontextmanager
async def stepped(url: str, count: int) -> AsyncGenerator[list[Database]]:
    """Databases of one stepped connection each."""
    conns: list[SteppedConnection] = []
    try:
        for _ in range(count):
            conn: Any = await asyncpg.connect(
                url, connection_class=SteppedConnection, server_settings={"jit": "off", "application_name": "actor"}
            )
            conns.append(conn)
            for kind in ("json", "jsonb"):
                await conn.set_type_codec(
                    kind,
                    schema="pg_catalog",
                    encoder=lambda value: msgspec.json.encode(value).decode(),
                    decoder=msgspec.json.decode,
                    format="text",
                )
        yield [Database(_OnePool(conn), url=url, pooled=False) for conn in conns]
    finally:
        for conn in conns:
            conn.terminate()


class Actor:
    """One of those who work at once."""

    def __init__(self, conn: SteppedConnection, changed: asyncio.Event) -> None:
        self.pid = conn.get_server_pid()
        self.state = "running"
        """``running`` (perhaps waiting for a lock), ``still`` (waits for its turn) or ``over``."""
        self.outcome: object = None
        self._changed = changed
        self._go = asyncio.Event()

    async def turn(self) -> None:
        self._become("still")
        await self._go.wait()
        self._go.clear()

    def let_go(self) -> None:
        self.state = "running"
        self._go.set()

    async def work(self, work: Work, db: Database) -> None:
        try:
            self.outcome = await work(db)
        except Exception as e:  # noqa: BLE001 - the test judges it
            self.outcome = e
        self._become("over")

    def _become(self, state: str) -> None:
        self.state = state
        self._changed.set()


@dataclass(slots=True)
class Run:
    """One order in which it was done.

    Attributes:
        taken: at each step the place of the chosen actor among those that could be chosen, and how many could.
        order: the actors let go, step by step.
        ended: the actors in the order in which they ended.
        outcomes: what each returned or raised.
        waited: whether anybody waited for a lock.
    """

    taken: list[tuple[int, int]] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)
    waited: bool = False


async def interleave(
    dbs: Sequence[Database],
    works: Sequence[Work],
    watcher: Connection,
    *,
    before: Callable[[], Awaitable[object]],
    switches: int | None = None,
) -> AsyncGenerator[Run]:
    """Every order of the steps of these works, each from the state that ``before`` makes.

    Args:
        switches: how often at most an actor is left that could go on; None for no bound.
    """
    chosen: list[int] = []
    while True:
        await before()
        run = await _run(dbs, works, watcher, chosen, switches)
        yield run
        taken = list(run.taken)
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        chosen = [choice for choice, _ in taken[:-1]] + [taken[-1][0] + 1]


async def _run(
    dbs: Sequence[Database], works: Sequence[Work], watcher: Connection, chosen: Sequence[int], switches: int | None
) -> Run:
    run, changed = Run(), asyncio.Event()
    conns = [db._pool._conn for db in dbs[: len(works)]]
    actors = [Actor(conn, changed) for conn in conns]
    tasks: list[asyncio.Task[None]] = []
    last: Actor | None = None
    left = switches
    try:
        for conn, actor, work, db in zip(conns, actors, works, dbs, strict=False):
            conn.actor = actor
            tasks.append(asyncio.create_task(actor.work(work, db)))
        for step in range(MOST_STEPS):
            await _settle(actors, watcher, changed, run)
            run.ended += [i for i, actor in enumerate(actors) if actor.state == "over" and i not in run.ended]
            able = [actor for actor in actors if actor.state == "still"]
            if not able:
                break
            if last in able:  # first, so that it costs a switch to choose another
                able = [last, *(actor for actor in able if actor is not last)]
                if left == 0:
                    able = [last]
            # Which one a deadlock costs is for Postgres to say, by its clock: the same steps may lead elsewhere.
            choice = min(chosen[step], len(able) - 1) if step < len(chosen) else 0
            if left is not None and last in able and choice:
                left -= 1
            run.taken.append((choice, len(able)))
            last = able[choice]
            run.order.append(actors.index(last))
            last.let_go()
        assert all(actor.state == "over" for actor in actors), f"no end after {MOST_STEPS} steps"
    finally:
        for conn in conns:
            conn.actor = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    run.outcomes = [actor.outcome for actor in actors]
    return run


async def _settle(actors: Sequence[Actor], watcher: Connection, changed: asyncio.Event, run: Run) -> None:
    """Until each actor stands still, is over, or waits for a lock of somebody who stands still."""
    for _ in range(_MOST_LOOKS):
        changed.clear()
        running = {actor.pid: actor for actor in actors if actor.state == "running"}
        if not running:
            return
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                await changed.wait()
            continue
        except TimeoutError:
            pass
        blockers = {row["pid"]: set(row["by"]) for row in await watcher.fetch(_BLOCKERS, list(running))}
        run.waited = run.waited or any(blockers.values())
        still = {actor.pid for actor in actors if actor.state == "still"}
        if not changed.is_set() and _all_wait(blockers, still):
            return
    raise AssertionError("an actor neither answered nor waited for another")


def _all_wait(blockers: dict[int, set[int]], still: set[int]) -> bool:
    """Whether all of them wait, in the end, for one who stands still; those in a circle are Postgres' to free."""
    reaches = set(still)
    while more := {pid for pid, by in blockers.items() if pid not in reaches and by & reaches}:
        reaches |= more
    return blockers.keys() <= reaches
