"""Ending attempts: one fenced statement for many jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from tidemill.engine.job import Job, Orphan
from tidemill.engine.kind import Registry
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database

End = Literal["done", "partial", "skipped", "cancelled", "failed", "dead", "retry", "snooze", "release", "crashed"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one attempt ended. ``delay`` (seconds) or ``at`` say when a retry or snooze may start."""

    job: Job
    outcome: End
    reason: str | None = None
    result: Any = None
    delay: float = 0.0
    at: datetime | None = None


async def finish(conn: Connection, endings: Sequence[Ending]) -> set[int]:
    """Record the endings of jobs that are still held; returns their ids.

    What is missing from the answer had lost its lease: nothing was written for it.
    """
    rows = await conn.fetch(
        SQL.finish,
        [e.job.id for e in endings],
        [e.job.token for e in endings],
        [e.job.node for e in endings],
        [e.outcome for e in endings],
        [e.reason for e in endings],
        [e.result for e in endings],
        [e.delay for e in endings],
        [e.at for e in endings],
        sorted({e.job.batch for e in endings if e.job.batch is not None}),
    )
    return {row["id"] for row in rows}


async def finish_all(db: Database, registry: Registry, endings: Sequence[Ending]) -> set[int]:
    """Finish in a transaction, telling the owners of kinds whose jobs end without their handler (``on_orphan``)."""

    async def work(conn: Connection) -> set[int]:
        held = await finish(conn, endings)
        await tell_owners(conn, registry, [e for e in endings if e.job.id in held])
        return held

    return await db.retrying(work)


async def tell_owners(conn: Connection, registry: Registry, endings: Sequence[Ending]) -> None:
    """Call ``on_orphan`` of each kind, once, for its jobs that died; in the transaction that ended them."""
    by_kind: dict[str, list[Orphan]] = {}
    for e in endings:
        if e.outcome == "dead" or e.reason == "deadline":
            by_kind.setdefault(e.job.kind, []).append(Orphan(e.job, e.outcome, e.reason or e.outcome))
    for name, orphans in sorted(by_kind.items()):
        if name in registry and (tell := registry[name].on_orphan):
            await tell(conn, orphans)
