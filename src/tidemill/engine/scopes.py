"""Outside scopes that may not be called for a while: a provider's whole app, or one account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidemill.engine.statements import SQL
from tidemill.postgres import Database


@dataclass(frozen=True, slots=True)
class Block:
    """A pause in force: until when (``tidemill.now()``), and what the provider said."""

    until: datetime
    reason: str


class Scopes:
    """Pauses that hold for every worker of the fleet."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def block(self, name: str, pause: timedelta, reason: str) -> None:
        """Pause a scope from now (``tidemill.now()``) on; a longer pause in force stays."""
        await self._db.execute(SQL.scope_block, name, pause, reason)

    async def blocked(self, names: Sequence[str]) -> dict[str, Block]:
        """Those of the named scopes that are paused now."""
        rows = await self._db.fetch(SQL.scope_blocked, list(names))
        return {row["name"]: Block(row["blocked_until"], row["reason"]) for row in rows}
