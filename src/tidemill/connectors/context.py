"""What a connector is given for one piece of work."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidemill.connectors.gate import Scopes
from tidemill.connectors.http import HttpClient, Tally
from tidemill.vault import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The world of one account's read. A connector never sees a refresh token or a client secret."""

    http: HttpClient
    token: Secret
    """The secret named ``token``; empty where there is none."""
    scopes: Scopes
    """The app's and the account's budgets, see :meth:`Scopes.of`."""
    clock: Callable[[], datetime | Awaitable[datetime]]
    """The slot clock (``tidemill.now()``), aware; plain or awaitable."""
    deadline: float
    """Instant of :func:`time.monotonic` at which the work must have ended."""
    log: Any
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the company says of its connector."""
    secrets: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    tally: Tally = field(default_factory=Tally)
    """Counts the calls made with this context."""

    async def now(self) -> datetime:
        """The slot clock's time."""
        now = self.clock()
        return await now if inspect.isawaitable(now) else now

    def remaining(self) -> float:
        """Seconds until the deadline; negative once it has passed."""
        return self.deadline - time.monotonic()
