"""The simulator's clock: frozen at an instant or running from one, and set from outside at any time."""

from __future__ import annotations

import time
from datetime import UTC, datetime

SLOT = 900
"""Seconds. Dips and gaps in the metrics change from one quarter of an hour to the next."""


class VirtualClock:
    """Seconds since the epoch, whole and UTC, either standing still or running with the machine's clock."""

    def __init__(self, at: datetime | None = None, *, running: bool | None = None) -> None:
        """Start at `at`, frozen unless `running`; without `at` the clock is the machine's and runs."""
        self._base = time.time() if at is None else _seconds(at)
        self._since: float | None = time.monotonic() if (at is None if running is None else running) else None

    @property
    def frozen(self) -> bool:
        """Whether time stands still between two settings."""
        return self._since is None

    def now(self) -> int:
        """The current instant in whole seconds since the epoch."""
        if self._since is None:
            return int(self._base)
        return int(self._base + time.monotonic() - self._since)

    def set(self, at: datetime) -> None:
        """Go to an instant, forwards or backwards; a running clock goes on running from there."""
        self._base = _seconds(at)
        if self._since is not None:
            self._since = time.monotonic()

    def advance(self, seconds: float) -> None:
        """Move by `seconds` (negative: back)."""
        self._base += seconds

    def freeze(self, frozen: bool = True) -> None:
        """Stop the clock where it is, or let it run on from there."""
        if frozen and self._since is not None:
            self._base += time.monotonic() - self._since
            self._since = None
        elif not frozen and self._since is None:
            self._since = time.monotonic()


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; one without an offset is UTC. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def stamp(seconds: int) -> str:
    """Write an instant the provider's way: `2026-11-20T05:42:03+0000`, no colon in the offset."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
