"""The worker under a steady load: for each window of time it says how long its jobs had waited.

    python -m benchmarks.steady_worker <database url> work <seconds of a window> 0

It speaks as a contender of the engine benchmark does (``peers/protocol.py``). It keeps no more than one window, so that
its memory is the engine's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from benchmarks.ground import KIND
from tidemill import logging
from tidemill.cli.running import spare_the_collector
from tidemill.engine import Context, Engine, Kind, Registry, Worker
from tidemill.engine.control import open_control
from tidemill.postgres import Database, Listener

CONCURRENCY = 100


class Waits:
    """Seconds from just before the call that enqueued a job to its handler's start."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    async def handle(self, _: Context, args: dict[str, Any]) -> None:
        self._seconds.append(time.monotonic() - args["sent"])

    def close_window(self) -> dict[str, Any]:
        """The window's percentiles; None where no job started."""
        seconds, self._seconds = sorted(self._seconds), []
        if not seconds:
            return {"at": time.monotonic(), "jobs": 0, "p50": None, "p99": None}
        p50, p99 = (seconds[len(seconds) * share // 100] for share in (50, 99))
        return {"at": time.monotonic(), "jobs": len(seconds), "p50": p50, "p99": p99}


async def tell(waits: Waits, window_s: float) -> None:
    while True:
        await asyncio.sleep(window_s)
        print(json.dumps(waits.close_window()), flush=True)


async def run(url: str, window_s: float) -> None:
    logging.configure("json", level="warning", stream=sys.stderr)
    waits = Waits()
    async with await Database.open(url) as db, await open_control(url) as control:
        registry = Registry([Kind(KIND, waits.handle)])
        worker = Worker(Engine(db, registry), control, queues={"default": CONCURRENCY}, listener=Listener(url))
        spare_the_collector()
        print(json.dumps({"ready": True}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        running, telling = asyncio.create_task(worker.run()), asyncio.create_task(tell(waits, window_s))
        told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        await running
        telling.cancel()
    print(json.dumps({"first": None}), flush=True)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], float(sys.argv[3])))
