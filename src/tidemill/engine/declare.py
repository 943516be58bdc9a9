"""Tells the database what an application declared of its kinds, for jobs that are enqueued from SQL."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill.engine.kind import Kind
from tidemill.engine.statements import SQL
from tidemill.postgres import Database


async def declare_kinds(db: Database, kinds: Iterable[Kind]) -> None:
    """Write the defaults of kinds into ``tidemill.kind``, in a transaction of its own; to be called at each start."""
    declared = sorted(kinds, key=lambda kind: kind.name)
    await db.execute(
        SQL.kind_declare,
        [kind.name for kind in declared],
        [kind.queue for kind in declared],
        [kind.priority for kind in declared],
        [kind.max_attempts for kind in declared],
        [kind.exposed for kind in declared],
        [kind.most_waiting for kind in declared],
        [kind.timeout for kind in declared],
    )
