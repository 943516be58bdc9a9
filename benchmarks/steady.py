"""A steady load: so many jobs a second, enqueued one by one, and one worker process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from benchmarks import ground
from benchmarks.engine_process import Contender
from benchmarks.peers import CHECKOUT, Peer

RATE = 500
"""Jobs a second."""
SENDERS = 20
"""Connections that enqueue, so that a slow call delays few of the jobs behind it."""
SILENCE_S = 60.0
"""Without a window: then the worker counts as failed."""
WORKER = Peer("steady", "benchmarks.steady_worker", (), "", "")


@dataclass(frozen=True, slots=True)
class Window:
    """What the worker saw within a stretch of time.

    Attributes:
        at: its end, CLOCK_MONOTONIC.
        p50, p99: seconds from enqueue to start; None where no job started.
        memory_mb: resident, at its end.
    """

    at: float
    jobs: int
    p50: float | None
    p99: float | None
    memory_mb: float


@dataclass
class Load:
    """A load that is on.

    Attributes:
        windows: those that are over.
        sent: jobs enqueued.
    """

    windows: list[Window] = field(default_factory=list[Window])
    sent: int = 0


@asynccontextmanager
async def steady(url: str, window_s: float) -> AsyncGenerator[Load]:
    """Put the load on until the block ends.

    Raises:
        ExceptionGroup: of CannotRun, when the worker failed or says nothing.
    """
    load = Load()
    contender = Contender(WORKER, [sys.executable, "-m", WORKER.program], CHECKOUT)
    # The place of the number of jobs is the window's length here.
    async with (
        ground.engine(url, connections=SENDERS) as engine,
        contender.worker(url, window_s, recorded=False) as worker,
    ):

        async def listen() -> None:
            while True:
                told = await worker.hear("p99", SILENCE_S)
                load.windows.append(Window(memory_mb=worker.memory_mb(), **told))

        async def send() -> None:
            due = time.monotonic()
            while True:
                due += SENDERS / RATE
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await engine.enqueue(ground.KIND, {"sent": time.monotonic()})
                load.sent += 1

        worker.go()
        # What fails beside the block fails the block at once.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (listen(), *(send() for _ in range(SENDERS)))]
            yield load
            for task in tasks:
                task.cancel()
        await worker.stop()


async def memory_trend(url: str, seconds: float) -> float:
    """Resident memory of a worker at the end of a steady load, of that after a sixth of the time."""
    async with steady(url, seconds / 30) as load:
        await asyncio.sleep(seconds)
    return growth([window.memory_mb for window in load.windows])


def growth(memory: list[float]) -> float:
    """The last of a run's figures, of that after a sixth of it."""
    return memory[-1] / memory[len(memory) // 6]
