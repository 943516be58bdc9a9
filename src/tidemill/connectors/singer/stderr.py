"""What a tap says on its standard error: logged a bounded number of lines, its figures understood."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, cast

import msgspec

from tidemill.connectors.redact import Redactor

_LINE = 8_192
"""Bytes of a line that are kept; far more than is ever shown, so that a secret at the cut is cut away with it."""
_LAST = 10
_AT_ONCE = 100
_PER_S = 2.0
_METRIC = b"METRIC: "


class Stderr:
    """Takes in whatever comes, at once; holds a few lines.

    Attributes:
        failed: the name of a timer that ended as failed, None while none did.
    """

    def __init__(self, redactor: Redactor, log: Any) -> None:
        self.failed: str | None = None
        self._redactor = redactor
        self._log = log
        self._part = b""
        self._last: deque[bytes] = deque(maxlen=_LAST)
        self._room = float(_AT_ONCE)
        self._filled = time.monotonic()
        self._unlogged = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        first, *more = data.split(b"\n")
        if len(self._part) < _LINE:
            self._part += first[: _LINE - len(self._part)]
        for line in more:
            self._take(self._part)
            self._part = line[:_LINE]

    def close(self) -> None:
        """No more comes."""
        self._take(self._part)
        self._part = b""
        if self._unlogged:
            self._log.info("tap_lines_not_logged", lines=self._unlogged)
            self._unlogged = 0

    def last(self, lines: int = _LAST) -> list[str]:
        """The last lines, redacted."""
        return [self._shown(line) for line in list(self._last)[-lines:]]

    def _take(self, line: bytes) -> None:
        line = line.strip()
        if not line or self._is_metric(line):
            return
        self._last.append(line)
        now = time.monotonic()
        self._room = min(self._room + (now - self._filled) * _PER_S, _AT_ONCE)
        self._filled = now
        if self._room < 1:
            self._unlogged += 1
            return
        self._room -= 1
        self._log.info("tap", line=self._shown(line))

    def _is_metric(self, line: bytes) -> bool:
        _, found, text = line.partition(_METRIC)
        if not found:
            return False
        try:
            point = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return False
        tags = point.get("tags")
        status = cast("dict[str, Any]", tags).get("status") if isinstance(tags, dict) else None
        name = str(point.get("metric"))[:100]
        # A call that failed may have been made again with success; a sync or a job that failed has failed.
        if status == "failed" and not name.startswith("http_request"):
            self.failed = name
        self._log.debug("tap_metric", metric=name, value=point.get("value"), status=status)
        return True

    def _shown(self, line: bytes) -> str:
        return self._redactor.text(line.decode(errors="replace"))
