"""A bound on calls in flight."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """A fair semaphore whose waiting ends at a deadline.

    asyncio's own looks through all its waiters on each release and needs a time-out context around it, which
    together cost as much as reading the answer does.
    """

    __slots__ = ("_free", "_waiters")

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiters: deque[asyncio.Future[bool]] = deque()

    def take(self) -> bool:
        """Take a free slot, if there is one that nobody waits for."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def wait(self, seconds: float) -> bool:
        """Wait for a slot for at most so long, first come first served. False: none came free."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(max(seconds, 0.0), _give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.give_back()  # a slot was handed over in the same moment
            raise
        finally:
            timer.cancel()

    def give_back(self) -> None:
        """Hand the slot to who has waited longest, else set it free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return
        self._free += 1


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
