"""A tap's process: started with nothing of ours, listened to line by line, ended for certain."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.singer.bounds import Bounds
from tidemill.connectors.singer.stderr import Stderr

_LAUNCHER = str(Path(__file__).with_name("launch.py"))
_HELD = 128 * 1024
"""Bytes of output that wait to be read before the tap has to."""
_KILLED_S = 10.0
"""What the system gets to end a process after SIGKILL; one in the middle of a dead disk's I/O never ends."""
_STDOUT, _STDERR = 1, 2


class Tap(asyncio.SubprocessProtocol):
    """A tap at work; made by :func:`started`.

    Attributes:
        heard: when (:func:`time.monotonic`) it last said something.
        code: its exit code, negative for a signal's number; None while it runs.
    """

    def __init__(self, stderr: Stderr, bounds: Bounds) -> None:
        self.heard = time.monotonic()
        self._told_at: float | None = None
        self._stopped = False
        self.code: int | None = None
        self._stderr = stderr
        self._bounds = bounds
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._part = bytearray()
        self._open = {_STDOUT, _STDERR}
        self._stir = asyncio.Event()
        self._ended = asyncio.Event()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote something."""
        self.heard = time.monotonic()
        if fd == _STDERR:
            self._stderr.feed(data)
            return
        self._chunks.append(data)
        self._held += len(data)
        self._stir.set()
        if self._held >= _HELD:
            self._output().pause_reading()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """It closed an output, or ended."""
        self._open.discard(fd)
        self._stir.set()

    def process_exited(self) -> None:
        """It ended. What it left behind ends too, and now: later its number may be another's."""
        self.code = self._transport.get_returncode()
        self._signal_group(signal.SIGKILL)
        self._ended.set()
        self._stir.set()

    # What the reader calls.

    async def chunk(self, within: float) -> bytes | None:
        """The next piece of its output, None at the end.

        Raises:
            TimeoutError: nothing came within so many seconds.
        """
        while not self._chunks:
            if _STDOUT not in self._open:
                return None
            self._stir.clear()
            async with asyncio.timeout(within):
                await self._stir.wait()
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        if self._held < _HELD and _STDOUT in self._open:
            self._output().resume_reading()
        return chunk

    async def read(self, within: float) -> list[bytes] | None:
        """The next whole lines, None at the end; an unfinished last line is no line.

        Raises:
            TimeoutError: nothing came within so many seconds.
            ProviderError: ``PERMANENT``; a line is too long.
        """
        if (chunk := await self.chunk(within)) is None:
            return None
        first, *more = chunk.split(b"\n")
        self._part += first
        if max(len(self._part), *map(len, more), 0) > self._bounds.line_bytes:
            raise ProviderError(
                ErrorKind.PERMANENT, f"the tap wrote a line of more than {self._bounds.line_bytes} bytes"
            )
        if not more:
            return []
        lines = [bytes(self._part), *more[:-1]]
        self._part = bytearray(more[-1])
        return lines

    @property
    def told_to_end(self) -> bool:
        """Whether we sent it a signal."""
        return self._told_at is not None

    @property
    def broke_off(self) -> bool:
        """Whether the output ended within a line."""
        return len(self._part) > 0

    def terminate(self) -> None:
        """Ask it to end; what it still says can be read."""
        self._told_at = time.monotonic()
        self._signal_group(signal.SIGTERM)

    async def ended(self, within: float) -> bool:
        """Wait until it has ended and all it said on standard error was taken in; whether that came to be in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._ended.wait()
                while _STDERR in self._open:  # a child of its may hold it
                    self._stir.clear()
                    await self._stir.wait()
        return self.code is not None

    async def stop(self) -> None:
        """End it and its children: SIGTERM, some time, SIGKILL. Once it has been called, it does nothing."""
        if self._stopped:
            return
        self._stopped = True
        try:
            if self.code is None:
                if self._told_at is None:
                    self.terminate()
                await self._drained((self._told_at or 0.0) + self._bounds.grace_s - time.monotonic())
        finally:
            if self.code is None:
                self._signal_group(signal.SIGKILL)
                await self._drained(_KILLED_S)
            self._transport.close()

    async def _drained(self, within: float) -> None:
        """Wait for its end; its last words are thrown away, or it could not write them and would wait for us."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.code is None:
                    self._chunks.clear()
                    self._held = 0
                    if _STDOUT in self._open:
                        self._output().resume_reading()
                    self._stir.clear()
                    await self._stir.wait()

    def _output(self) -> asyncio.ReadTransport:
        return cast("asyncio.ReadTransport", self._transport.get_pipe_transport(_STDOUT))

    def _signal_group(self, number: signal.Signals) -> None:
        """To it and its children."""
        with suppress(ProcessLookupError, PermissionError):  # none is left, or (on macOS) only what is not reaped yet
            os.killpg(self._transport.get_pid(), number)


@asynccontextmanager
async def started(
    program: Path, arguments: Sequence[str], folder: Path, stderr: Stderr, bounds: Bounds
) -> AsyncGenerator[Tap]:
    """Run a tap; it has ended when this has, however it is left.

    The tap leads a process group and dies with this process, even by SIGKILL.

    Raises:
        ProviderError: ``PERMANENT``; there is no such program here.
    """
    if not os.access(program, os.X_OK):
        raise ProviderError(ErrorKind.PERMANENT, "the tap is not installed on this worker (TIDEMILL_SINGER_TAPS)")
    _, protocol = await asyncio.get_running_loop().subprocess_exec(
        lambda: Tap(stderr, bounds),
        *(sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid()), str(program), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        env=_environment(program, folder),
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield protocol
    finally:
        try:
            await protocol.stop()
        finally:
            stderr.close()


def _environment(program: Path, folder: Path) -> dict[str, str]:
    """All that a tap sees of the world: nothing that this process was told."""
    return {
        "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }
