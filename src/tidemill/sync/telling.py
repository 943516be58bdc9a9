"""What a run over a company's accounts tells of itself, committed with what it did: a cut-off run goes on behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from tidemill.postgres import Connection
from tidemill.sync.jobs import Run
from tidemill.sync.statements import SQL

MOST_ACTIONS = 1000
"""Actions that a run tells of one by one; its counts are of all."""

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Telling:
    """How far a run is, over all its attempts.

    Attributes:
        counts: of whatever it counts.
        after: the last account that is through.
    """

    _run: Run
    counts: Counter[str]
    after: UUID | None
    _place: tuple[str, str] | None
    _told: int

    @classmethod
    async def load(cls, run: Run) -> Telling:
        """As the attempt before left it."""
        told: dict[str, Any] = await run.ctx.db.fetchval(SQL.run_metrics, run.id) or {}
        after = UUID(told["after"]) if told.get("after") else None
        return cls(run, Counter(told.get("counts") or {}), after, told.get("place"), told.get("told", 0))

    def place_in(self, account: UUID) -> str | None:
        """How far the account is that was being looked at; None for any other."""
        return self._place[1] if self._place is not None and self._place[0] == str(account) else None

    async def within(self, conn: Connection, account: UUID, place: str, actions: Sequence[Mapping[str, Any]]) -> None:
        """An account is done up to a place, in the transaction that did it."""
        self._place = (str(account), place)
        await self._write(conn, actions)

    async def through(self, conn: Connection, account: UUID, actions: Sequence[Mapping[str, Any]]) -> None:
        """An account is done, in the transaction that did the last of it."""
        self.after = account
        await self._write(conn, actions)

    async def again(self, conn: Connection) -> None:
        """Nothing but the counts has changed."""
        await self._write(conn, ())

    async def _write(self, conn: Connection, actions: Sequence[Mapping[str, Any]]) -> None:
        for action in actions:
            self.counts[action["action"]] += action["count"]
        shown = actions[: max(0, MOST_ACTIONS - self._told)]
        self._told += len(shown)
        progress = {"counts": self.counts, "told": self._told, "after": self.after, "place": self._place}
        await conn.execute(SQL.run_actions_add, self._run.id, _encode(shown).decode(), _encode(progress).decode())
