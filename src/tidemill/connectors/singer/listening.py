"""Listens to a tap until it ends or has to: batches first, then how it went."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncGenerator
from math import inf

from tidemill.connectors.errors import ErrorKind, ProviderError, TimeBudgetSpent
from tidemill.connectors.redact import Redactor
from tidemill.connectors.singer.batcher import Batcher, Cut
from tidemill.connectors.singer.bounds import Bounds
from tidemill.connectors.singer.process import Tap
from tidemill.connectors.singer.stderr import Stderr

_ENDING_SHARE = 0.1
"""The part of the time, at most, that is kept for the tap's last words."""


class Listening:
    """One run of one stream.

    Attributes:
        failure: what ended it early; None while it goes on and after a good end.
    """

    def __init__(self, tap: Tap, stderr: Stderr, redactor: Redactor, bounds: Bounds, deadline: float) -> None:
        self.failure: ProviderError | TimeBudgetSpent | None = None
        self._tap = tap
        self._stderr = stderr
        self._redactor = redactor
        self._bounds = bounds
        self._deadline = deadline
        left = max(deadline - time.monotonic(), 0.0)
        self._stop_at = deadline - min(bounds.grace_s, left * _ENDING_SHARE)
        self._waits_since: float | None = None

    async def cuts(self, batcher: Batcher) -> AsyncGenerator[Cut]:
        """What the tap writes, in batches; nothing is read while one of them is being worked on."""
        try:
            while (lines := await self._next(batcher.due)) is not None:
                for cut in batcher.take(lines):
                    yield cut
                if batcher.due is not None and time.monotonic() >= batcher.due:
                    for cut in batcher.settle():
                        yield cut
        except ProviderError as e:
            self.failure = e
        if self.failure is None:
            self.failure = await self.verdict()
        await self._tap.stop()
        for cut in batcher.flush() if self.failure else batcher.end():
            yield cut

    async def output(self, limit: int) -> bytes:
        """All that the tap writes, for what is no stream of messages.

        Raises:
            ProviderError: it failed, or wrote more than ``limit`` bytes.
            TimeBudgetSpent: it was not through in time.
        """
        chunks: list[bytes] = []
        size = 0
        while size <= limit and time.monotonic() < self._deadline:
            try:
                chunk = await self._tap.chunk(self._deadline - time.monotonic())
            except TimeoutError:
                break
            if chunk is None:
                if (failure := await self.verdict()) is not None:
                    raise failure
                return b"".join(chunks)
            chunks.append(chunk)
            size += len(chunk)
        if size > limit:
            raise ProviderError(ErrorKind.PERMANENT, f"the tap wrote more than {limit} bytes")
        raise _spent()

    async def verdict(self) -> ProviderError | TimeBudgetSpent | None:
        """How the run went, once the output has ended; None when it went well.

        A tap that we asked to end may well answer 0: that is no success.
        """
        tap = self._tap
        if tap.told_to_end:
            return _spent()
        ended = await tap.ended(self._bounds.grace_s)
        if not ended:
            return self._failed("closed its output but did not end")
        if tap.code is not None and tap.code < 0:
            return self._failed(f"was ended by {_signal_name(-tap.code)}")
        if tap.code:
            return self._failed(f"ended with exit code {tap.code}")
        if tap.broke_off:
            return self._failed("ended in the middle of a line")
        if self._stderr.failed:
            return self._failed(f"says that it failed ({self._stderr.failed})")
        return None

    async def _next(self, due: float | None) -> list[bytes] | None:
        """The next lines, none of them where something else is to be done, None at the end."""
        tap, now = self._tap, time.monotonic()
        if now >= self._stop_at and not tap.told_to_end and tap.code is None:
            tap.terminate()
        if now >= self._deadline:
            self.failure = _spent()
            return None
        if self._waits_since is None:
            self._waits_since = now
        silent_until = max(tap.heard, self._waits_since) + self._bounds.idle_s
        until = self._stop_at if now < self._stop_at else self._deadline
        wake = min(until, silent_until, inf if due is None else due)
        try:
            lines = await tap.read(max(wake - now, 0))
        except TimeoutError:
            # It may have said something on standard error meanwhile.
            silent_until = max(tap.heard, self._waits_since) + self._bounds.idle_s
            if not tap.told_to_end and time.monotonic() >= silent_until:
                raise self._failed(f"has said nothing for {self._bounds.idle_s:g} s") from None
            return []
        self._waits_since = None
        return lines

    def _failed(self, how: str) -> ProviderError:
        last = self._stderr.last()
        said = f": {last[-1]}" if last else ""
        return ProviderError(
            ErrorKind.TRANSIENT,
            self._redactor.text(f"the tap {how}{said}"),
            response=self._redactor.response({"exit_code": self._tap.code, "stderr": last}),
        )


def _spent() -> TimeBudgetSpent:
    return TimeBudgetSpent("the time was over before the tap was through")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
