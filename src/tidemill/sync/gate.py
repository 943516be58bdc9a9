"""Pauses that hold for the whole fleet: told to Postgres when they begin, learnt from it as each account starts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog

from tidemill.connectors import MemoryGate, Scopes
from tidemill.engine import Scopes as FleetScopes

_log = structlog.get_logger("tidemill.sync")


class FleetGate(MemoryGate):
    """A process's own gate, kept in step with ``tidemill.scope``.

    Asking costs no round trip; a pause that another process met is learnt at the next account's start, so each process
    makes at most the calls it has in flight before it stops too.
    """

    def __init__(self, fleet: FleetScopes) -> None:
        super().__init__()
        self._fleet = fleet

    async def blocked(self, scope: str, pause: timedelta, reason: str) -> None:
        """Pause a scope here and for everybody."""
        await super().blocked(scope, pause, reason)
        await self._fleet.block(scope, pause, reason)
        _log.warning("scope_paused", scope=scope, seconds=round(pause.total_seconds()), reason=reason)

    async def learn(self, scopes: Scopes, blocks: Mapping[str, tuple[float, str]]) -> None:
        """Take over what the database says of these scopes: seconds left and reason of each pause in force."""
        for name in scopes:
            if name is None:
                continue
            self._paused.pop(name, None)
            if block := blocks.get(name):
                await super().blocked(name, timedelta(seconds=block[0]), block[1])
