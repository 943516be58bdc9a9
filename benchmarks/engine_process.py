"""One process of a contender: its verbs, and a worker that is started, waited for and stopped."""

from __future__ import annotations

import asyncio
import json
import resource
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.engine_server import cpu_of
from benchmarks.peers import CannotRun, Peer

_START_S = 120.0
_STOP_S = 30.0
_LINE_LIMIT = 16_000_000


class Contender:
    """A peer that is installed.

    Attributes:
        peer: which.
    """

    def __init__(self, peer: Peer, command: list[str], folder: Path) -> None:
        self.peer = peer
        self._command = command
        self._folder = folder

    @classmethod
    async def prepare(cls, peer: Peer) -> Contender:
        """Install the peer if need be.

        Raises:
            CannotRun: it cannot be.
        """
        return cls(peer, *await asyncio.to_thread(peer.prepare))

    async def call(self, url: str, verb: str, *options: object, timeout: float = 900.0) -> dict[str, Any]:
        """Run a verb to its end; what it said last.

        Raises:
            CannotRun: it failed or took too long.
        """
        async with self._process(url, verb, *options) as process:
            return await process.read_all(timeout)

    @asynccontextmanager
    async def worker(self, url: str, jobs: float, *, recorded: bool) -> AsyncGenerator[Process]:
        """A worker that is ready and waits for :meth:`Process.go`."""
        async with self._process(url, "work", jobs, int(recorded)) as process:
            await process.hear("ready", _START_S)
            yield process

    @asynccontextmanager
    async def _process(self, url: str, verb: str, *options: object) -> AsyncGenerator[Process]:
        with tempfile.TemporaryFile() as errors:
            running = await asyncio.create_subprocess_exec(
                *self._command,
                url,
                verb,
                *map(str, options),
                cwd=self._folder,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=_LINE_LIMIT,
            )
            try:
                yield Process(running, verb, errors)
            finally:
                if running.returncode is None:
                    running.kill()
                await running.wait()


class Process:
    """A contender's process."""

    def __init__(self, running: asyncio.subprocess.Process, verb: str, errors: Any) -> None:
        assert running.stdin is not None
        assert running.stdout is not None
        self._running = running
        self._stdin, self._stdout = running.stdin, running.stdout
        self._verb = verb
        self._errors = errors

    def cpu_s(self) -> float:
        """Seconds of CPU so far."""
        return cpu_of(self._running.pid)

    def memory_mb(self) -> float:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self._running.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def go(self) -> None:
        """Let the worker start."""
        self._stdin.write(b"go\n")

    async def stop(self) -> dict[str, Any]:
        """Stop the worker; its last words.

        Raises:
            CannotRun: it failed, or does not stop.
        """
        self._stdin.write(b"stop\n")
        return await self.hear("first", _STOP_S)

    async def read_all(self, timeout: float) -> dict[str, Any]:
        """Wait for the end; what it said last, or nothing."""
        said: dict[str, Any] = {}
        async with self._patience(timeout):
            async for line in self._stdout:
                said = _message(line) or said
            await self._running.wait()
        if self._running.returncode:
            raise self._failure()
        return said

    async def hear(self, what: str, timeout: float) -> dict[str, Any]:
        """Wait for a message that has the key ``what``.

        Raises:
            CannotRun: the process ended before, or stays silent.
        """
        async with self._patience(timeout):
            async for line in self._stdout:
                if (message := _message(line)) and what in message:
                    return message
        raise self._failure()

    @asynccontextmanager
    async def _patience(self, timeout: float) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError:
            raise CannotRun(f"{self._verb} took more than {timeout:.0f} s; {self._last_words()}") from None

    def _failure(self) -> CannotRun:
        return CannotRun(f"{self._verb} failed: {self._last_words()}")

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _message(line: bytes) -> dict[str, Any] | None:
    """A line of the protocol; None for whatever else a peer prints."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
