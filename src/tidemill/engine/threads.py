"""Plain functions as jobs: each runs in a thread of its own, so many at a time."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from tidemill.engine.job import Job
from tidemill.engine.progress import Said

MOST = 40
"""Plain functions that one process runs at a time; more wait for a thread."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a plain function asks of the event loop: a method of :class:`Context <tidemill.Context>`."""

    method: Literal["spend", "block"]
    args: tuple[Any, ...]


def _unheard(said: Said | Ask) -> None:
    """Where nobody runs the function for a worker."""


@dataclass(frozen=True, slots=True)
class PlainContext:
    """What a plain function gets: one attempt of one job, seen from outside the event loop.

    A thread cannot be cancelled. After its timeout, or when the lease is lost, it goes on while another attempt may
    run elsewhere. So what it writes, it writes in a transaction whose first statement is ``select
    tidemill.fence(job, token, node)`` with the three numbers of :attr:`fence`: that one fails once the job is
    somebody else's.

    Attributes:
        job: the claimed job.
        deadline: ``time.monotonic()`` at which the attempt is given up.
        say: where :meth:`progress` goes.
        ask: where :meth:`spend` and :meth:`block` are done.
    """

    job: Job
    deadline: float
    say: Callable[[Said], None] = field(default=_unheard, repr=False, compare=False)
    ask: Callable[[Ask], None] = field(default=_unheard, repr=False, compare=False)

    @property
    def fence(self) -> tuple[int, int, int]:
        """Job, token and node, for ``tidemill.fence``."""
        return self.job.id, self.job.token, self.job.node

    def progress(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """Say how far this attempt has got, as :meth:`Context.progress <tidemill.Context.progress>` does.

        Raises:
            InvalidInput: naming what cannot be taken.
        """
        self.say(Said.checked(done, total, note))

    def spend(self, scope: str, calls: int = 1) -> None:
        """Make room for calls to the outside, as :meth:`Context.spend <tidemill.Context.spend>` does; blocks meanwhile.

        Raises what that does.
        """
        self.ask(Ask("spend", (scope, calls)))

    def block(self, scope: str, pause: timedelta, reason: str) -> None:
        """Let nobody call for a while, as :meth:`Context.block <tidemill.Context.block>` does.

        Raises what that does.
        """
        self.ask(Ask("block", (scope, pause, reason)))

    def remaining(self) -> float:
        """Seconds left until this attempt's timeout; never negative."""
        return max(0.0, self.deadline - time.monotonic())


class Threads:
    """A bound on threads, and the way into one.

    They are daemons, made for each call: a pool's threads are joined when the process ends, and one that hangs would
    keep it for ever.
    """

    def __init__(self, most: int = MOST) -> None:
        self._free = asyncio.Semaphore(most)

    async def run(self, call: Callable[[], Any]) -> Any:
        """Call in a thread; a caller that is cancelled leaves it running, and its place is taken until it ends."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[Any, Exception | None]] = loop.create_future()

        def settle(value: Any, error: Exception | None) -> None:
            self._free.release()
            if not done.done():
                done.set_result((value, error))

        def work() -> None:
            value: Any = None
            error: Exception | None = None
            try:
                value = context.run(call)
            except Exception as e:  # noqa: BLE001 - raised again where it is awaited
                error = e
            except BaseException as e:  # noqa: BLE001 - a function that calls sys.exit() must not end the worker
                error = RuntimeError(f"the function raised {type(e).__name__}: {e}")
            try:
                loop.call_soon_threadsafe(settle, value, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        context = contextvars.copy_context()
        threading.Thread(target=work, name="tidemill job", daemon=True).start()
        value, error = await done
        if error is not None:
            raise error
        return value
