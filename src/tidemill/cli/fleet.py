"""Several worker processes under one parent: started, restarted when they die, stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from tidemill.cli.exits import Exit

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0
"""A child that lived so long starts its backoff anew when it dies."""
GRACE_S = 60.0
"""What children get to stop after they were asked; twice what a worker's own grace may take, then they are killed."""
_HOPELESS = frozenset({Exit.USAGE, Exit.SCHEMA_OUT_OF_DATE})

_log = structlog.get_logger("tidemill.cli")


@dataclass(slots=True)
class Fleet:
    """Keeps ``size`` processes of one command alive until ``stop`` is set.

    Each child is tethered: it holds a pipe of this process as standard input and stops by itself when that ends, so no
    child outlives a parent that was killed.

    Attributes:
        command: what each child runs.
        size: how many.
        stop: ends the fleet.
        environ: the children's environment; None is this process's.
        output: file descriptor for their standard error, None is this process's.
        folder: where they run.
        own: what the n-th child is told besides.
        pause_s: how long to wait before the n-th restart in a row.
    """

    command: Sequence[str]
    size: int
    stop: asyncio.Event
    environ: Mapping[str, str] | None = None
    output: int | None = None
    folder: Path | None = None
    own: Callable[[int], Sequence[str]] = lambda n: ()
    pause_s: Callable[[int], float] = lambda n: min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S)
    _children: dict[int, asyncio.subprocess.Process] = field(
        default_factory=dict[int, asyncio.subprocess.Process], init=False
    )
    _code: int = field(default=Exit.OK, init=False)

    async def run(self) -> int:
        """Run until stopped; 0, or the code of a child that no restart can help."""
        try:
            async with asyncio.TaskGroup() as slots:
                for number in range(self.size):
                    slots.create_task(self._keep(number), name=f"worker {number}")
        finally:
            for child in self._children.values():  # only when this task was cancelled: the loops wait for theirs
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
        return self._code

    async def _keep(self, number: int) -> None:
        deaths, loop = 0, asyncio.get_running_loop()
        while not self.stop.is_set():
            born = loop.time()
            child = await self._start(number)
            code = await self._watch(child)
            del self._children[number]
            if self.stop.is_set():
                return
            if code in _HOPELESS:
                self._code = code
                self.stop.set()
                return
            deaths = 0 if loop.time() - born >= STEADY_S else deaths + 1
            pause = self.pause_s(max(deaths - 1, 0))
            _log.warning("worker_died", worker=number, pid=child.pid, code=code, restart_in_s=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), pause)

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        # A session of its own, so that Ctrl-C in a terminal reaches this process alone, which passes it on once.
        child = await asyncio.create_subprocess_exec(
            *self.command,
            *self.own(number),
            stdin=asyncio.subprocess.PIPE,
            stderr=self.output,
            start_new_session=True,
            env=self.environ,
            cwd=self.folder,
        )
        self._children[number] = child
        _log.info("worker_process", worker=number, pid=child.pid)
        return child

    async def _watch(self, child: asyncio.subprocess.Process) -> int:
        """Wait for the child's end, which the stop brings about; its exit code."""
        ended = asyncio.create_task(child.wait())
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(signal.SIGTERM)
                await asyncio.wait({ended}, timeout=GRACE_S)
            if not ended.done():
                _log.error("worker_killed", pid=child.pid, note="it did not stop in time; its jobs are rescued")
                child.kill()
            return await ended
        finally:
            stopped.cancel()
            ended.cancel()


def this_command(*arguments: str) -> list[str]:
    """The command line of a tethered child that runs this very program."""
    return [
        sys.executable,
        "-P",
        "-m",
        "tidemill",
        "--tethered",
        *arguments,
    ]  # -P: no module of this folder in our place
