"""Cancelling jobs: what waits ends at once, what runs is asked to stop.

An ask holds for the job and not for one attempt of it: if the job goes back to waiting (its process died, it failed and
is to be tried again, it was given back) the next node that looks ends it there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog

from tidemill.engine.batch import seal_batch
from tidemill.engine.engine import Engine
from tidemill.engine.finish import Ending, finish, tell_owners
from tidemill.engine.job import Job
from tidemill.engine.look import JobFilter
from tidemill.engine.rescue import jobs_of
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database

CHUNK = 500
"""Jobs that are ended in one transaction, of the ready and of the delayed ones each."""
_LOOKS = 5
"""Times a job is looked for that moved from one state to another while it was looked for."""

_log = structlog.get_logger("tidemill.engine")


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """What became of one job.

    Attributes:
        answer: ``cancelled`` (it waited and has ended), ``asked`` (it runs and was asked to stop), ``ended`` (it had
            ended before), ``moving`` (it changed its state again and again; ask once more), ``not found``.
        outcome: how it ended, for ``cancelled`` and ``ended``.
    """

    answer: Literal["cancelled", "asked", "ended", "moving", "not found"]
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How many jobs of a filter have ended, and how many run and were asked to stop."""

    cancelled: int
    asked: int


@dataclass(frozen=True, slots=True)
class Stop:
    """An attempt that its node has to stop; ``reason`` is for its ending, ``cancelled``."""

    job: int
    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Pick:
    jobs: list[int] | None = None
    kind: int | None = None
    queue: int | None = None
    tenant: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


async def cancel_jobs(engine: Engine, jobs: Sequence[int], *, by: str) -> dict[int, CancelAnswer]:
    """Cancel jobs by their ids, a transaction for every 500; what became of each.

    ``by`` says who asks; it stands in the history. Waiting jobs end here and now, through the same statement as all
    others: history, unique key and batch are as after any end, and the owner of the kind is told (``on_orphan``).

    Raises:
        InvalidInput: when ``by`` cannot be taken.
    """
    _check(by)
    answers = dict.fromkeys(jobs, CancelAnswer("moving"))
    ids = list(answers)
    for i in range(0, len(ids), CHUNK):
        answers |= await _cancel(engine, ids[i : i + CHUNK], by)
    told = [answer.answer for answer in answers.values()]
    _log.info("jobs_cancelled", jobs=told.count("cancelled"), asked=told.count("asked"), by=by)
    return answers


async def _cancel(engine: Engine, ids: list[int], by: str) -> dict[int, CancelAnswer]:
    answers: dict[int, CancelAnswer] = {}
    left = ids
    for _ in range(_LOOKS):
        answers |= dict.fromkeys(await _end(engine, _Pick(left), by), CancelAnswer("cancelled", "cancelled"))
        left = [job for job in left if job not in answers]
        answers |= dict.fromkeys(await _ask(engine.db, _Pick(left), by), CancelAnswer("asked"))
        left = [job for job in left if job not in answers]
        found = {row["id"]: row["state"] for row in await engine.db.fetch(SQL.look_where, left)} if left else {}
        over = [job for job in left if found.get(job) in (None, "dead")]
        outcomes = {row["id"]: row["outcome"] for row in await engine.db.fetch(SQL.cancel_ended, over)} if over else {}
        for job in over:
            outcome = found.get(job) or outcomes.get(job)
            answers[job] = CancelAnswer("ended", outcome) if outcome else CancelAnswer("not found")
        left = [job for job in left if job not in answers]
        if not left:
            break
    return answers


async def cancel_matching(engine: Engine, where: JobFilter, *, by: str) -> Cancelled:
    """Cancel all live jobs of a filter that were enqueued before this call, those that wait 500 a transaction.

    Raises:
        InvalidInput: naming what cannot be taken.
    """
    _check(by)
    if where.reason is not None:
        raise InvalidInput("reason", "jobs that have not ended have none")
    names = await where.resolved(engine.db)
    pick = _Pick(None, names.kind, names.queue, where.tenant, where.since, names.now)
    cancelled = await _end_all(engine, pick, by)
    asked = await _ask(engine.db, pick, by)
    # Once more for what ran at first and went back to waiting before it could be asked.
    cancelled += await _end_all(engine, pick, by)
    _log.info("jobs_cancelled", jobs=cancelled, asked=len(asked), by=by)
    return Cancelled(cancelled, len(asked))


async def cancel_batches(conn: Connection, batches: Collection[UUID], *, by: str) -> list[UUID]:
    """Ask all members of batches to stop, and seal them, in the caller's transaction; those that were not closed yet.

    Nodes heed the asks after the commit: what waits ends within a beat, what runs is stopped. Each batch then closes as
    any other, by its closing job.
    """
    _check(by)
    found = [row["id"] for row in await conn.fetch(SQL.batch_unclosed, list(batches))]
    for batch in found:
        await conn.execute(SQL.cancel_batch, batch, by)
        await seal_batch(conn, batch)
    return found


async def heed_cancels(engine: Engine, db: Database, node: int) -> list[Stop]:
    """The attempts of this node that were asked to stop.

    Asked jobs that nobody runs any more are looked after on the way, by one node at a time: those that went back to
    waiting end ``cancelled``, and the asks of those that have ended are forgotten.
    """

    async def work(conn: Connection) -> list[int]:
        unheld = {row["job"]: row["asked_by"] for row in await conn.fetch(SQL.cancel_unheld, CHUNK)}
        if not unheld:
            return []
        jobs = await _seize(engine, conn, _Pick(list(unheld)))
        await _finish(engine, conn, jobs, unheld)
        await conn.execute(SQL.cancel_forget, list(unheld))
        return [job.id for job in jobs]

    if ended := await db.retrying(work):
        _log.info("cancelled_while_waiting", jobs=ended)
    rows = await db.fetch(SQL.cancel_asked, node)
    return [Stop(row["id"], row["token"], _reason(row["asked_by"])) for row in rows]


async def _end_all(engine: Engine, pick: _Pick, by: str) -> int:
    cancelled = 0
    while ended := await _end(engine, pick, by):
        cancelled += len(ended)
    return cancelled


async def _end(engine: Engine, pick: _Pick, by: str) -> list[int]:
    """End what waits, one chunk; the ids."""

    async def work(conn: Connection) -> list[int]:
        jobs = await _seize(engine, conn, pick)
        await _finish(engine, conn, jobs, {job.id: by for job in jobs})
        return [job.id for job in jobs]

    return await engine.db.retrying(work)


async def _seize(engine: Engine, conn: Connection, pick: _Pick) -> list[Job]:
    rows = await conn.fetch(
        SQL.cancel_seize, pick.jobs, pick.kind, pick.queue, pick.tenant, pick.since, pick.until, CHUNK
    )
    return await jobs_of(engine, conn, rows)


async def _ask(db: Database, pick: _Pick, by: str) -> list[int]:
    async def work(conn: Connection) -> list[int]:
        rows = await conn.fetch(
            SQL.cancel_ask, pick.jobs, pick.kind, pick.queue, pick.tenant, pick.since, pick.until, by
        )
        return [row["id"] for row in rows]

    return await db.retrying(work)


async def _finish(engine: Engine, conn: Connection, jobs: Sequence[Job], by: Mapping[int, str]) -> None:
    if jobs:
        endings = [Ending(job, "cancelled", reason=_reason(by[job.id]), orphaned=True) for job in jobs]
        await finish(conn, endings)
        await tell_owners(conn, engine.registry, endings)


def _reason(by: str) -> str:
    return f"cancelled by {by}"


def _check(by: str) -> None:
    if not 1 <= len(by) <= 200:
        raise InvalidInput("by", "needs 1 to 200 characters that say who asks")
