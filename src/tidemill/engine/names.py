"""Kinds and queues are interned: hot rows carry an int instead of a text."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database


class Names:
    """Both directions of the interning, cached for the life of the process (an interned name never changes)."""

    def __init__(self) -> None:
        self._kinds: dict[str, int] = {}
        self._queues: dict[str, int] = {}
        self._kind_names: dict[int, str] = {}

    async def learn(self, db: Database, kinds: Iterable[str], queues: Iterable[str]) -> None:
        """Make sure that all the given names have their ints.

        Always in a transaction of its own: a name learnt in a caller's transaction would be cached even if that one
        rolls back.
        """
        new_kinds = sorted(set(kinds) - self._kinds.keys())
        new_queues = sorted(set(queues) - self._queues.keys())
        if not new_kinds and not new_queues:
            return
        for row in await db.fetch(SQL.intern, new_kinds, new_queues):
            if row["what"] == "kind":
                self._kinds[row["name"]] = row["id"]
                self._kind_names[row["id"]] = row["name"]
            else:
                self._queues[row["name"]] = row["id"]

    def know(self, kind: str, queue: str) -> bool:
        """Whether both were learnt."""
        return kind in self._kinds and queue in self._queues

    def kind(self, name: str) -> int:
        """The int of a learnt kind."""
        return self._kinds[name]

    def queue(self, name: str) -> int:
        """The int of a learnt queue."""
        return self._queues[name]

    def unmet(self, kind_ids: Iterable[int]) -> set[int]:
        """The ints of kinds that neither were learnt nor met."""
        return set(kind_ids) - self._kind_names.keys()

    async def meet(self, conn: Connection, kind_ids: Iterable[int]) -> None:
        """Look up the names behind ints: of kinds that only other processes know."""
        for kind_id in kind_ids:
            self._kind_names[kind_id] = str(await conn.fetchval(SQL.names, kind_id))

    def kind_name(self, kind_id: int) -> str:
        """The name behind the int of a kind that was learnt or met."""
        return self._kind_names[kind_id]
