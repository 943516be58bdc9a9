"""Dead letters: given another chance, or thrown away. They are listed by :func:`tidemill.engine.look.list_jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tidemill.engine.look import JobFilter
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database, Record

CHUNK = 500
"""Jobs of one transaction."""

Retry = Literal["retried", "key held", "not dead"]


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry by filter came to; ``key_held`` jobs stay dead, since a live job holds their unique key."""

    retried: int
    key_held: int


async def retry_dead(db: Database, jobs: Sequence[int]) -> dict[int, Retry]:
    """Make dead jobs ready again, as if they had never been tried, under their old ids; what became of each.

    A job that had a unique key takes it anew; while a live job holds it, it stays dead (``key held``). Its batch, which
    has counted it as dead, does not count it again. A transaction for every 500.
    """
    answers: dict[int, Retry] = dict.fromkeys(jobs, "not dead")
    for chunk in _chunks(jobs):
        for row in await _retry(db, chunk, JobFilter(), None, None, 0):
            answers[row["id"]] = "retried" if row["retried"] else "key held"
    return answers


async def retry_dead_matching(db: Database, where: JobFilter) -> Retried:
    """Make all dead jobs of a filter ready again, 500 a transaction.

    Raises:
        InvalidInput: naming what of the filter cannot be taken.
    """
    names = await where.resolved(db)
    retried = held = above = 0
    while rows := await _retry(db, None, where, names.kind, names.queue, above):
        above = rows[-1]["id"]
        done = sum(row["retried"] for row in rows)
        retried += done
        held += len(rows) - done
    return Retried(retried, held)


async def discard_dead(db: Database, jobs: Sequence[int]) -> set[int]:
    """Throw dead jobs away; the ids of those that were dead. Their history stays. A transaction for every 500."""
    gone: set[int] = set()
    for chunk in _chunks(jobs):
        gone.update(await _discard(db, chunk, JobFilter(), None, None, 0))
    return gone


async def discard_dead_matching(db: Database, where: JobFilter) -> int:
    """Throw all dead jobs of a filter away, 500 a transaction; how many.

    Raises:
        InvalidInput: naming what of the filter cannot be taken.
    """
    names = await where.resolved(db)
    discarded = above = 0
    while gone := await _discard(db, None, where, names.kind, names.queue, above):
        above = max(gone)
        discarded += len(gone)
    return discarded


def _chunks(jobs: Sequence[int]) -> list[list[int]]:
    ids = sorted(set(jobs))
    return [ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK)]


async def _retry(
    db: Database, jobs: list[int] | None, where: JobFilter, kind: int | None, queue: int | None, above: int
) -> list[Record]:
    async def work(conn: Connection) -> list[Record]:
        return await conn.fetch(
            SQL.dead_retry, jobs, kind, queue, where.tenant, where.reason, where.since, above, CHUNK
        )

    return await db.retrying(work)


async def _discard(
    db: Database, jobs: list[int] | None, where: JobFilter, kind: int | None, queue: int | None, above: int
) -> list[int]:
    async def work(conn: Connection) -> list[Record]:
        return await conn.fetch(
            SQL.dead_discard, jobs, kind, queue, where.tenant, where.reason, where.since, above, CHUNK
        )

    return [row["id"] for row in await db.retrying(work)]
