"""What many ask for at about the same time is done once, for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from tidemill.errors import DatabaseUnavailable

T = TypeVar("T")
R = TypeVar("R")


class Coalescer(Generic[T, R]):
    """Turns calls into groups, one group at a time: while one is under way, the next one collects.

    Accounts are synced side by side, and what each writes is small: done alone, most of its cost would be the round
    trips and the commit around it.

    Args:
        work: does the items of one group and answers each in order, with an exception for one that failed alone.
            When it raises, the items of the group are done one by one, so that a failure is that of its cause only;
            unless Postgres is away, which is everybody's.
        linger_s: seconds for which the first item of a group waits for others.
        most: items in one group at most.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]], *, linger_s: float, most: int
    ) -> None:
        self._work = work
        self._linger_s = linger_s
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Have one item done, with others or alone.

        Cancelled before its group began, it is left out; later, it is done all the same.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if len(self._waiting) >= self._most:
            self._full.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="coalescer")
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._linger()
                group = [(item, answer) for item, answer in self._waiting[: self._most] if not answer.done()]
                del self._waiting[: self._most]
                try:
                    await self._do(group)
                except asyncio.CancelledError:
                    for _, answer in group:
                        answer.cancel()
                    raise
        finally:
            self._task = None
            for _, answer in self._waiting:  # none, unless this task was cancelled
                answer.cancel()
            self._waiting.clear()

    async def _linger(self) -> None:
        self._full.clear()
        if len(self._waiting) >= self._most:
            return
        try:
            async with asyncio.timeout(self._linger_s):
                await self._full.wait()
        except TimeoutError:
            return

    async def _do(self, group: list[tuple[T, asyncio.Future[R]]]) -> None:
        if not group:
            return
        try:
            answers = await self._work([item for item, _ in group])
        except Exception as e:  # noqa: BLE001 - raised to whoever asked
            if len(group) == 1 or isinstance(e, DatabaseUnavailable):
                answers = [e] * len(group)
            else:
                for one in group:
                    await self._do([one])
                return
        for (_, answer), done in zip(group, answers, strict=True):
            if answer.done():  # whoever asked was cancelled meanwhile
                continue
            if isinstance(done, Exception):
                answer.set_exception(done)
            else:
                answer.set_result(done)
