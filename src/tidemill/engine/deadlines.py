"""Time limits of many tasks, kept by one timer: a limit of its own for each task costs more than a short job does."""

from __future__ import annotations

import asyncio
from typing import Any


class Deadlines:
    """Cancels tasks that run past their time.

    Tasks of equal limits end in the order they began in, so each limit has a queue whose first entry is due first.
    """

    def __init__(self) -> None:
        self._running: dict[float, dict[asyncio.Task[Any], float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def begin(self, task: asyncio.Task[Any], limit_s: float) -> float:
        """Give a running task ``limit_s`` seconds from now; the instant (``loop.time()``) of its cancellation."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        running = self._running.get(limit_s)
        if running is None:
            running = self._running[limit_s] = {}
        running[task] = deadline
        if self._timer is None or deadline < self._next:
            self._wake_at(loop, deadline)
        return deadline

    def end(self, task: asyncio.Task[Any], limit_s: float) -> bool:
        """The task is through; whether it had been cancelled by us. Call it once for each :meth:`begin`."""
        return self._running[limit_s].pop(task, None) is None

    def _wake_at(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(deadline, self._sweep)
        self._next = deadline

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        nearest: float | None = None
        for running in self._running.values():
            while running:
                task, deadline = next(iter(running.items()))
                if deadline > now:
                    nearest = deadline if nearest is None else min(nearest, deadline)
                    break
                del running[task]
                task.cancel()
        if nearest is not None:
            self._wake_at(loop, nearest)
