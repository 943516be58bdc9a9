"""Running a coroutine as a command, and stopping one that serves until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from tidemill.cli.exits import Exit

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in an event loop of its own; Ctrl-C cancels it and raises KeyboardInterrupt."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def spare_the_collector() -> None:
    """For a process that does nothing but work: what lives as long as it does is not searched for garbage again.

    Measured on a sync of 200 accounts: a sixth of the worker's CPU went into looking through modules and caches.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


class Stop(asyncio.Event):
    """Set by the first SIGINT or SIGTERM; knows which code the command ends with."""

    code = Exit.OK


@contextlib.contextmanager
def stopping() -> Generator[Stop]:
    """Turn SIGINT and SIGTERM into an event inside the block; a second signal cancels the task that entered it."""
    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), Stop()

    def handle(code: Exit) -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.code = max(stop.code, code)
        stop.set()

    signals = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.OK}
    for number, code in signals.items():
        loop.add_signal_handler(number, handle, code)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
