"""What comes after a batch: its callback, or the next step of a chain.

A step is a batch. The job that closes it enqueues the next one in the same fenced transaction, so that a step is begun
exactly once, whoever dies when.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import msgspec.structs

from tidemill.engine.backoff import Backoff
from tidemill.engine.batch import BatchSummary, close_batch, seal_batch
from tidemill.engine.callers import Conversation, begin_batch, hold_with
from tidemill.engine.callers.recognise import Family, family_of, refuse_autocommit, refuse_closed
from tidemill.engine.context import Context
from tidemill.engine.engine import Engine, KeyHeld
from tidemill.engine.job import NewJob
from tidemill.engine.kind import Kind, Registry, check_instant, check_jobs, check_tenant
from tidemill.engine.outcome import Cancel, Done
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection

CLOSE = "tidemill.batch"
"""Kind of the job that closes a batch of the application's and enqueues what comes after."""
MOST_JOBS = 100_000
"""Jobs of one batch: they are enqueued in one transaction."""
_CHUNK = 1000
_AHEAD = BatchSummary(total=0, finished=0, counts={}, reason="drained")
"""Stands for the summary that a later step will get, so that its other arguments can be checked now."""

Steps = list[list[NewJob]]


def closing_kind() -> Kind:
    """The kind behind batches and chains; every application has it."""
    return Kind(CLOSE, _close, max_attempts=100, backoff=Backoff(base=0.5, cap=60))


async def enqueue_batch(
    engine: Engine,
    jobs: Sequence[NewJob],
    *,
    on_done: NewJob | None = None,
    deadline: datetime | None = None,
    tenant: UUID | None = None,
    conn: Any = None,
) -> list[int | None]:
    """Enqueue jobs that are counted together, and ``on_done`` once all have ended, however they ended.

    Takes ``conn`` and answers as :meth:`Engine.enqueue_many`. A job whose key is held is no part of the batch.

    Raises:
        InvalidInput: naming the argument that cannot be taken; then nothing is enqueued.
    """
    after = checked_batch(engine.registry, jobs, on_done, deadline=deadline, tenant=tenant)

    async def work(conn: Connection) -> list[int | None]:
        return await _begin(engine, conn, jobs, after, always=True, deadline=deadline, tenant=tenant)

    if conn is None:
        return await engine.db.retrying(work)
    if family_of(conn) is Family.ASYNCPG:
        _check_conn(conn)
        return await work(conn)
    await engine.declare_kinds()
    begun = beginning(engine.registry, jobs, after, always=True, deadline=deadline, tenant=tenant)
    return await hold_with(conn, begun)


def checked_batch(
    registry: Registry,
    jobs: Sequence[NewJob],
    on_done: NewJob | None,
    *,
    deadline: datetime | None = None,
    tenant: UUID | None = None,
) -> Steps:
    """What comes after a batch of these.

    Raises:
        InvalidInput: naming the argument that cannot be taken.
    """
    if len(jobs) > MOST_JOBS:
        raise InvalidInput("jobs", f"{len(jobs)} are more than a batch takes at once ({MOST_JOBS})")
    check_instant("deadline", deadline)
    check_tenant(tenant)
    return [] if on_done is None else [[_ahead(registry, on_done)]]


async def enqueue_chain(
    engine: Engine, steps: Sequence[Sequence[NewJob]], *, tenant: UUID | None = None, conn: Any = None
) -> list[int]:
    """Enqueue the first step; each further one once every job of the step before is ``done``. Ids of the first.

    A step with a job that ended in any other way is the last one.

    Raises:
        InvalidInput: naming the argument that cannot be taken; then nothing is enqueued.
        KeyHeld: when a live job holds the key of one of the first step's. In a later step the chain waits for it.
    """
    first, after = checked_chain(engine.registry, steps, tenant=tenant)

    async def work(conn: Connection) -> list[int]:
        return all_of(first, await _begin(engine, conn, first, after, always=False, tenant=tenant))

    if conn is None:
        return await engine.db.retrying(work)
    if family_of(conn) is Family.ASYNCPG:
        _check_conn(conn)
        return await work(conn)
    await engine.declare_kinds()
    begun = beginning(engine.registry, first, after, always=False, tenant=tenant)
    return all_of(first, await hold_with(conn, begun))


def checked_chain(
    registry: Registry, steps: Sequence[Sequence[NewJob]], *, tenant: UUID | None = None
) -> tuple[Sequence[NewJob], Steps]:
    """The first step, and what comes after.

    Raises:
        InvalidInput: naming the argument that cannot be taken.
    """
    if not steps or not all(steps):
        raise InvalidInput("steps", "needs one job or more in every step")
    for step in steps:
        check_jobs("steps", step)
    check_tenant(tenant)
    first, *rest = steps
    return first, [[_ahead(registry, job) for job in step] for step in rest]


def beginning(
    registry: Registry,
    jobs: Sequence[NewJob],
    after: Steps,
    *,
    always: bool,
    deadline: datetime | None = None,
    tenant: UUID | None = None,
) -> Conversation:
    """What begins a step on a connection of the application's own; the kinds must have been declared."""
    args = {"steps": msgspec.to_builtins(after), "always": always}
    return begin_batch(jobs, registry, on_close=CLOSE, args=args, deadline=deadline, tenant=tenant)


async def _begin(
    engine: Engine,
    conn: Connection,
    jobs: Sequence[NewJob],
    after: Steps,
    *,
    always: bool,
    deadline: datetime | None = None,
    tenant: UUID | None = None,
) -> list[int | None]:
    batch = uuid4()
    args = {"steps": msgspec.to_builtins(after), "always": always}
    await engine.open_batch(conn, on_close=CLOSE, args=args, batch=batch, deadline=deadline, tenant=tenant)
    ids: list[int | None] = []
    for start in range(0, len(jobs), _CHUNK):
        members = [msgspec.structs.replace(job, batch=batch) for job in jobs[start : start + _CHUNK]]
        ids += await engine.enqueue_many(members, conn=conn)
    await seal_batch(conn, batch)
    return ids


async def _close(ctx: Context, args: dict[str, Any]) -> Done | Cancel:
    steps = msgspec.convert(args["steps"], Steps)
    async with ctx.transaction() as conn:
        summary = await close_batch(conn, UUID(args["batch"]))
        if summary is None or not steps:
            return Done()  # by an earlier attempt, or nothing comes after
        if not args["always"] and summary.counts.get("done", 0) < summary.total:
            return Cancel(f"{len(steps)} more steps are not begun", dataclasses.asdict(summary))
        first, *rest = steps
        jobs = [msgspec.structs.replace(job, args={**job.args, "batch": summary}) for job in first]
        if rest:
            ids = await _begin(ctx.engine, conn, jobs, rest, always=False, tenant=ctx.job.tenant)
        else:
            ids = await ctx.engine.enqueue_many(jobs, conn=conn)
        all_of(jobs, ids)
    return Done(dataclasses.asdict(summary))


def _check_conn(conn: Connection) -> None:
    """Several statements make a batch: on a connection that commits each by itself it could be left half made."""
    refuse_closed(conn.is_closed())
    refuse_autocommit(not conn.is_in_transaction(), "use async with conn.transaction()")


def _ahead(registry: Registry, job: NewJob) -> NewJob:
    """A later job, checked now."""
    args = job.args
    if args is None or isinstance(args, Mapping):
        args = {**cast("Mapping[str, Any]", args or {}), "batch": _AHEAD}
    kind = registry[job.kind]
    return kind.checked(msgspec.structs.replace(job, args=kind.arguments.pack(args)))


def all_of(jobs: Sequence[NewJob], ids: Sequence[int | None]) -> list[int]:
    """The ids of jobs that are nothing without each other.

    Raises:
        KeyHeld: when one is missing.
    """
    taken: list[int] = []
    for job, job_id in zip(jobs, ids, strict=True):
        if job_id is None:
            raise KeyHeld(job.kind, job.key)
        taken.append(job_id)
    return taken
