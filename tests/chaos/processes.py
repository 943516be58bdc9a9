"""Processes to be killed, stopped and continued; each is gone when its block ends, whatever happened."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds: ten times what any of these waits needs."""


class Process:
    """``python -m module`` in a process group of its own; what it says goes to a file, a JSON object a line."""

    def __init__(self, module: str, log: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env={**os.environ, **environment},
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()  # also ends one that is stopped
        self._process.wait(PATIENCE)

    def said(self, *events: str) -> list[dict[str, Any]]:
        """The lines it logged with one of these events."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") in events]

    async def until_said(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        async def enough() -> list[dict[str, Any]] | None:
            if not self.is_running():
                raise AssertionError(f"the process ended instead of saying {event!r}:\n{self.last_words()}")
            said = self.said(event)
            return said if len(said) >= times else None

        return await until(enough, what=f"{event!r} in {self.log}")

    def last_words(self) -> str:
        return self.log.read_text()[-4000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self.is_running():
            self.kill()


async def until(check: Callable[[], Awaitable[T]], *, what: str, pause: float = 0.01, patience: float = PATIENCE) -> T:
    """Ask until the answer is something true, and return that."""
    try:
        async with asyncio.timeout(patience):
            while not (answer := await check()):
                await asyncio.sleep(pause)
            return answer
    except TimeoutError:
        raise AssertionError(f"{what}: did not happen in time") from None


STOP, CONTINUE = signal.SIGSTOP, signal.SIGCONT
