"""What can go wrong around a few workers and their Postgres, drawn beforehand from a seed that repeats it."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from tests.chaos.conftest import KeptServer
from tests.chaos.ledger_process import LEASE_S
from tests.chaos.processes import CONTINUE, STOP, Process, until
from tests.postgres.proxy import Proxy, Where

WORKERS = 3
DOORS = ("engine", "control", "listen")
FEEDER = "feeder"
"""Where the enqueuers go through."""

_PROCESS = {"kill": 4, "stop": 2, "stop past the lease": 3}
_NETWORK = {
    "cut": 3,
    "cut in the request": 3,
    "cut before the answer": 6,
    "cut in the answer": 3,
    "silence before the answer": 4,
    "silence some": 4,
    "silence": 3,
    "stall": 4,
    "turn away": 2,
}
_SERVER = {"immediate": 2, "kill postmaster": 1}
_SERVER_EVERY_S = 8.0
"""Seconds between two deaths of the server: its keeper gives one up that dies again and again as soon as it starts."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong: ``at`` so many seconds, for so many, with a worker, the server, or behind a door."""

    at: float
    what: str
    worker: int
    door: str
    seconds: float
    byte: int


def plan(rng: random.Random, seconds: float) -> list[Trouble]:
    """All of it, in order."""
    kinds = {**_PROCESS, **_NETWORK, **_SERVER}
    found: list[Trouble] = []
    at, server_at = 0.0, 0.0
    while (at := at + rng.uniform(0.05, 0.9)) < seconds:
        [what] = rng.choices(list(kinds), list(kinds.values()))
        if what in _SERVER:
            if at < server_at:
                continue
            server_at = at + _SERVER_EVERY_S
        past = what == "stop past the lease"
        lasts = (1.6 if past else rng.choice((0.15, 0.4, 1.3))) * LEASE_S * rng.uniform(0.8, 1.2)
        door = rng.choice((*DOORS, "control", FEEDER))
        if door == FEEDER and what == "stall":  # a job enqueued long after its enqueuer gave up is rightly there
            what = "silence"
        found.append(Trouble(round(at, 2), what, rng.randrange(WORKERS), door, round(lasts, 2), rng.randrange(1, 60)))
    return found


class Crew:
    """The workers, each behind proxies of its own, and the feeder's; made whole again at the end of :meth:`harry`."""

    def __init__(self, server: KeptServer, url: str, directory: Path) -> None:
        self._server, self._url, self._directory = server, url, directory
        self._stack = AsyncExitStack()
        self._workers: list[Process] = []
        self._hired = 0
        self._busy: set[int] = set()
        self._proxies: dict[tuple[int, str], Proxy] = {}
        self.feeder = Proxy(url)
        self.done: list[str] = []
        """What was done, with the second."""

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.feeder)
        for n in range(WORKERS):
            for door in DOORS:
                self._proxies[n, door] = await self._stack.enter_async_context(Proxy(self._url))
            self._workers.append(self._hire(n))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _hire(self, n: int) -> Process:
        urls = {f"CHAOS_{door.upper()}_URL": self._proxies[n, door].url for door in DOORS}
        self._hired += 1
        log = self._directory / f"worker-{n}-{self._hired}.log"
        return self._stack.enter_context(Process("tests.chaos.ledger_process", log, urls))

    def __iter__(self) -> Iterator[Process]:
        return iter(self._workers)

    def proxies(self) -> list[Proxy]:
        return [self.feeder, *self._proxies.values()]

    async def harry(self, troubles: list[Trouble]) -> None:
        """Have all of it happen, side by side where it lasts, then heal."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for trouble in troubles:
                await asyncio.sleep(max(0.0, began + trouble.at - loop.time()))
                self.done.append(f"{loop.time() - began:.2f} {trouble}")
                group.create_task(self._happens(trouble))
        for proxy in self.proxies():
            proxy.heal()

    async def _happens(self, trouble: Trouble) -> None:
        if trouble.what in _SERVER:
            self._server.kill(signal.SIGQUIT if trouble.what == "immediate" else signal.SIGKILL)
        elif trouble.what in _PROCESS:
            await self._strike(trouble)
        else:
            proxy = self.feeder if trouble.door == FEEDER else self._proxies[trouble.worker, trouble.door]
            await self._disturb(proxy, trouble)

    async def _strike(self, trouble: Trouble) -> None:
        n = trouble.worker
        if n in self._busy:  # it is stopped, and is to be continued
            return
        if trouble.what == "kill":
            self._workers[n].kill()
            self._workers[n] = self._hire(n)
            return
        self._busy.add(n)
        self._workers[n].signal(STOP)
        await asyncio.sleep(trouble.seconds)
        self._workers[n].signal(CONTINUE)
        self._busy.remove(n)

    async def _disturb(self, proxy: Proxy, trouble: Trouble) -> None:
        what, _, where = trouble.what.partition(" ")
        # What of one door overlaps ends with the first of them.
        lasting: Mapping[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "silence": (proxy.silence, proxy.heal),
            "stall": (proxy.swallow, proxy.pass_on),
            "turn away": (proxy.turn_away, proxy.heal),
        }
        if trouble.what in lasting:
            begin, end = lasting[trouble.what]
            begin()
            await asyncio.sleep(trouble.seconds)
            end()
        elif where == "some":
            proxy.silence(0.5, random.Random(trouble.byte))
        elif where:
            proxy.at(cast(Where, where), after=trouble.byte, silent=what == "silence")
        else:
            await proxy.cut()

    async def well(self) -> list[int]:
        """Wait until every worker hears notifications; the nodes they are."""
        nodes: list[int] = []
        for worker in self._workers:
            await worker.until_said("ready")

            async def hears(worker: Process = worker) -> int | None:
                told = len(worker.said("state"))
                worker.signal(signal.SIGUSR1)
                states = await worker.until_said("state", told + 1)
                return states[-1]["node"] if states[-1]["hears"] else None

            nodes.append(cast(int, await until(hears, what="a listener that hears", pause=0.2)))
        return nodes
