"""Ending attempts: one fenced statement for many jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tidemill.engine.job import Job, Orphan
from tidemill.engine.kind import Registry
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database

End = Literal["done", "partial", "skipped", "cancelled", "failed", "dead", "retry", "snooze", "release", "crashed"]


class Ending(Struct, frozen=True):
    """How one attempt ended.

    Attributes:
        delay, at: seconds, or the instant, that say when a retry or snooze may start.
        orphaned: whether it ended without its handler's say, so that the owner of the kind is told (``on_orphan``).
    """

    job: Job
    outcome: End
    reason: str | None = None
    result: Any = None
    delay: float = 0.0
    at: datetime | None = None
    orphaned: bool = False


async def finish(conn: Connection, endings: Sequence[Ending]) -> set[int]:
    """Record the endings of jobs that are still held; returns their ids.

    What is missing from the answer had lost its lease: nothing was written for it.
    """
    held = await _finish_in_place(conn, endings)
    if missing := [e for e in endings if e.job.id not in held]:
        rows = await conn.fetch(SQL.places, [e.job.id for e in missing])
        places = {row["id"]: (row["place"], row["lane"]) for row in rows}
        moved = [
            replace(e, job=replace(e.job, place=places[e.job.id][0], lane=places[e.job.id][1]))
            for e in missing
            if e.job.id in places and places[e.job.id][0] != e.job.place
        ]
        if moved:
            held |= await _finish_in_place(conn, moved)
    return held


async def _finish_in_place(conn: Connection, endings: Sequence[Ending]) -> set[int]:
    limited = [e.job for e in endings if e.job.lane < 0]
    if limited:
        await conn.execute(SQL.hold_limits, sorted({job.lane for job in limited}))
    held = await _record(conn, endings)
    if freed := [job.lane for job in limited if job.id in held]:
        await conn.execute(SQL.open_lanes, freed)
    return held


async def _record(conn: Connection, endings: Sequence[Ending]) -> set[int]:
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
        [e.job.place for e in endings],
        sorted({e.job.batch for e in endings if e.job.batch is not None}),
    )
    return {row["id"] for row in rows}


def is_plain(e: Ending) -> bool:
    """Whether :func:`finish_done` can record it: most endings are."""
    job = e.job
    return e.outcome == "done" and e.result is None and job.batch is None and job.place is not None and job.lane >= 0


async def finish_done(db: Database, endings: Sequence[Ending]) -> set[int]:
    """Record plain endings, in one statement a node; the ids of the jobs whose lease stood where the claim put it.

    What is missing has lost its lease, or the lease was moved: :func:`finish_all` can tell.
    """
    held: set[int] = set()
    for node in {e.job.node for e in endings}:
        jobs = [e.job for e in endings if e.job.node == node]
        held.update(
            await db.fetchval(
                SQL.finish_done, node, [j.id for j in jobs], [j.token for j in jobs], [j.place for j in jobs]
            )
        )
    return held


async def finish_all(db: Database, registry: Registry, endings: Sequence[Ending]) -> set[int]:
    """Finish in a transaction, telling the owners of kinds whose jobs end without their handler (``on_orphan``)."""

    async def work(conn: Connection) -> set[int]:
        held = await finish(conn, endings)
        await tell_owners(conn, registry, [e for e in endings if e.job.id in held])
        return held

    return await db.retrying(work)


async def find_written(db: Database, endings: Sequence[Ending]) -> set[int]:
    """The ids of those that an earlier call recorded, whose answer did not arrive."""
    rows = await db.fetch(
        SQL.finish_written,
        [e.job.id for e in endings],
        [e.job.attempt for e in endings],
        [e.job.crashes for e in endings],
        [e.job.node for e in endings],
        [e.outcome for e in endings],
    )
    return {row["id"] for row in rows}


async def tell_owners(conn: Connection, registry: Registry, endings: Sequence[Ending]) -> None:
    """Call ``on_orphan`` of each kind, once, for its jobs that died or were taken away; in their transaction."""
    by_kind: dict[str, list[Orphan]] = {}
    for e in endings:
        if e.outcome == "dead" or e.orphaned:
            reason = "cancelled" if e.outcome == "cancelled" else e.reason or e.outcome
            by_kind.setdefault(e.job.kind, []).append(Orphan(e.job, e.outcome, reason))
    if orphaned := [orphan for orphans in by_kind.values() for orphan in orphans if _batch_to_close(orphan.job)]:
        await conn.execute(
            SQL.batch_abandon,
            [_batch_to_close(orphan.job) for orphan in orphaned],
            [orphan.job.kind for orphan in orphaned],
            [orphan.outcome != "dead" for orphan in orphaned],
        )
    for name, orphans in sorted(by_kind.items()):
        if name in registry and (tell := registry[name].on_orphan):
            await tell(conn, orphans)


def _batch_to_close(job: Job) -> UUID | None:
    """The batch that a job closes, if it is a closing job."""
    try:
        return UUID(job.args["batch"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
