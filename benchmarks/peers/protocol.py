"""The engine benchmark's side of a Python contender: what it must be able to do, and the process around it.

    python -m <module> <database url> install
    python -m <module> <database url> enqueue <one by one> <in bulk>    → {"single_s": …, "bulk_s": …}
    python -m <module> <database url> trickle <jobs> <mean gap, s>      → {"sent": [[job, time], …]}
    python -m <module> <database url> work <jobs> <record 0 or 1>

A worker says ``{"ready": true}``, starts at the line ``go``, says ``{"handled": true}`` when its last job has been
handled, stops at the line ``stop`` and ends with ``{"first": time, "starts": [[job, time], …]}``. All times are
CLOCK_MONOTONIC in seconds, which every process of the machine reads alike. This file is imported in the peers' own
environments: it needs nothing but uvloop, and nothing of Tidemill.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

Handle = Callable[[int], None]


class Contender:
    """A job queue behind the four calls that are measured. One object serves one process."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def install(self) -> None:
        """Make the tables."""
        raise NotImplementedError

    async def open(self) -> None:
        """Connect, for the enqueue calls."""

    async def close(self) -> None:
        """Undo :meth:`open`."""

    async def enqueue_one(self, number: int) -> None:
        """One job, durable on return."""
        raise NotImplementedError

    async def enqueue_bulk(self, numbers: range) -> None:
        """All of them, by the fastest way that its documentation names."""
        raise NotImplementedError

    async def work(self, handle: Handle, stop: asyncio.Event) -> None:
        """Run jobs, each a coroutine that calls ``handle`` with its number, until ``stop`` is set."""
        raise NotImplementedError


def main(contender: type[Contender]) -> None:
    """Do what the command line asks for."""
    uvloop.run(_run(contender(sys.argv[1]), sys.argv[2], sys.argv[3:]))


async def _run(contender: Contender, verb: str, options: list[str]) -> None:
    if verb == "install":
        await contender.install()
    elif verb == "work":
        await _work(contender, int(options[0]), recorded=options[1] == "1")
    else:
        await contender.open()
        try:
            if verb == "enqueue":
                _say(await _enqueue(contender, int(options[0]), int(options[1])))
            else:
                _say({"sent": await _trickle(contender, int(options[0]), float(options[1]))})
        finally:
            await contender.close()


async def _enqueue(contender: Contender, single: int, bulk: int) -> dict[str, float]:
    await contender.enqueue_one(0)  # learns names and prepares statements
    started = time.monotonic()
    for number in range(1, single):
        await contender.enqueue_one(number)
    between = time.monotonic()
    await contender.enqueue_bulk(range(single, single + bulk))
    return {"single_s": between - started, "bulk_s": time.monotonic() - between}


async def _trickle(contender: Contender, jobs: int, gap: float) -> list[tuple[int, float]]:
    # An even gap would fall into step with a peer's polling.
    gaps = random.Random(1)
    await asyncio.sleep(gap)
    sent: list[tuple[int, float]] = []
    for number in range(jobs):
        sent.append((number, time.monotonic()))
        await contender.enqueue_one(number)
        await asyncio.sleep(gaps.uniform(0.5, 1.5) * gap)
    return sent


async def _work(contender: Contender, jobs: int, *, recorded: bool) -> None:
    first, handled, starts = 0.0, 0, list[tuple[int, float]]()

    def handle(number: int) -> None:
        nonlocal first, handled
        if recorded:
            starts.append((number, time.monotonic()))
        if not handled:
            first = time.monotonic()
        handled += 1
        if handled == jobs:
            _say({"handled": True})

    _say({"ready": True})
    await asyncio.to_thread(sys.stdin.readline)
    stop = asyncio.Event()
    working = asyncio.create_task(contender.work(handle, stop))
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    await asyncio.wait([working, told], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await working
    _say({"first": first, "starts": starts})


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
