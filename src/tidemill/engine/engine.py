"""The engine's front: enqueue, batches, budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from tidemill.engine import tracing
from tidemill.engine.batch import open_batch
from tidemill.engine.budgets import Rate
from tidemill.engine.callers import enqueue_with
from tidemill.engine.callers.recognise import Family, family_of
from tidemill.engine.callers.refusal import naming_refusals
from tidemill.engine.declare import declare_kinds
from tidemill.engine.job import NewJob
from tidemill.engine.kind import Kind, Registry, check_jobs
from tidemill.engine.limits import declare_limits
from tidemill.engine.names import Names
from tidemill.engine.processes import Processes
from tidemill.engine.progress import Progress
from tidemill.engine.spend import Budgets
from tidemill.engine.statements import SQL
from tidemill.engine.threads import Threads
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


def _column(values: list[T | None]) -> list[T | None] | None:
    """None for a column without a value: it costs nothing to send."""
    return values if any(value is not None for value in values) else None


def _shortened(values: list[int]) -> list[int]:
    """A single value where all are the same: it stands for all."""
    return values[:1] if values.count(values[0]) == len(values) else values


def _is_plain(job: NewJob) -> bool:
    """Whether a job only has to be written: no key to look for, no batch to join, and it is due."""
    return job.key is job.batch is job.at is job.delay is None


class KeyHeld(InvalidInput):
    """Another live job holds the unique key."""

    def __init__(self, kind: str, key: str | None) -> None:
        held = "the key of these arguments" if key is None else f"the key {key!r}"
        super().__init__("key", f"a live {kind!r} job already holds {held}")


class Engine:
    """Durable jobs in one Postgres.

    Attributes:
        db: where the jobs live.
        registry: the kinds this application knows.
        budgets: of calls to the outside, fleet-wide.
        threads: where plain functions run.
        processes: where functions run that are declared with ``processes=True``.
        progress: what this process's running jobs say of how far they have got.
        trace_tenants: whether the spans of runs tell the tenant.
    """

    def __init__(
        self,
        db: Database,
        registry: Registry,
        *,
        trace_tenants: bool = False,
        budgets: Mapping[str, Rate | None] | None = None,
    ) -> None:
        self.db = db
        self.registry = registry
        self.names = Names()
        self.budgets = Budgets(db, budgets or {})
        self.threads = Threads()
        self.processes = Processes()
        self.progress = Progress(db)
        self.trace_tenants = trace_tenants
        self._are_kinds_declared = False

    async def close(self) -> None:
        """End the child processes, if there are any; ``db`` is the caller's."""
        await self.processes.close()

    async def enqueue(
        self,
        kind: str,
        args: Any = None,
        *,
        conn: Any = None,
        key: str | None = None,
        at: datetime | None = None,
        delay: float | None = None,
        priority: int = 0,
        tenant: UUID | None = None,
        batch: UUID | None = None,
    ) -> int:
        """Enqueue one job and return its id; with ``conn`` it commits or rolls back with the caller's data.

        Raises:
            InvalidInput: naming the argument that cannot be taken.
            KeyHeld: when a live job of the kind holds ``key``.
        """
        job = NewJob(kind=kind, args=args, key=key, at=at, delay=delay, priority=priority, tenant=tenant, batch=batch)
        return await self.enqueue_one(job, conn=conn)

    async def enqueue_one(self, job: NewJob, *, conn: Any = None) -> int:
        """:meth:`enqueue_many` for one job, by the shortest way there is: somebody waits for it.

        Raises:
            InvalidInput, EnqueueBlocked: as there.
            KeyHeld: when a live job of the kind holds the key.
        """
        kind = self.registry[job.kind]
        if tracing.is_on():
            [job_id] = await self.enqueue_many([job], conn=conn)
        elif conn is None and (args := kind.packed(job)) is not None:
            job_id = await self._insert_plain(job, args, kind, self.db)
        else:
            [job_id] = await self._insert([kind.checked(job)], [kind], conn)
        if job_id is None:
            raise KeyHeld(job.kind, job.key)
        return job_id

    async def enqueue_many(self, jobs: Sequence[NewJob], *, conn: Any = None) -> list[int | None]:
        """Enqueue jobs in one statement; the answer has None for each whose unique key is held.

        ``conn`` is a connection of the application's, of asyncpg, psycopg or SQLAlchemy (see
        :func:`tidemill.engine.callers.enqueue_with`; for plain code there is ``enqueue_with_sync``).

        Raises:
            InvalidInput: naming the argument that cannot be taken; then nothing is enqueued.
            EnqueueBlocked: another open transaction has been taking the same key for ten seconds.
        """
        if not jobs:
            return []
        check_jobs("jobs", jobs)
        kinds = [self.registry[job.kind] for job in jobs]
        with tracing.enqueuing([k.checked(job) for k, job in zip(kinds, jobs, strict=True)], kinds) as sending:
            ids = await self._insert(sending.jobs, kinds, conn)
            sending.became(ids)
        return ids

    async def _insert(self, jobs: Sequence[NewJob], kinds: Sequence[Kind], conn: Any) -> list[int | None]:
        if conn is not None and family_of(conn) is not Family.ASYNCPG:
            await self.declare_kinds()
            return await enqueue_with(conn, jobs, self.registry)
        to = conn or self.db
        if len(jobs) == 1 and _is_plain(jobs[0]):
            return [await self._insert_plain(jobs[0], _encode(jobs[0].args), kinds[0], to)]
        await self.names.learn(self.db, {k.name for k in kinds}, {k.queue for k in kinds})
        columns = (
            [self.names.kind(kind.name) for kind in kinds],
            [self.names.queue(kind.queue) for kind in kinds],
            [job.priority + kind.priority for job, kind in zip(jobs, kinds, strict=True)],
            [job.max_attempts or kind.max_attempts for job, kind in zip(jobs, kinds, strict=True)],
        )
        tenants = [job.tenant for job in jobs]
        args = [_encode(job.args).decode() for job in jobs]
        traces = [job.trace for job in jobs]
        if all(map(_is_plain, jobs)):
            rows = await to.fetch(SQL.enqueue_plain, *map(_shortened, columns), _column(tenants), args, _column(traces))
            return sorted(job_id for row in rows for job_id in row["ids"])
        with naming_refusals():
            rows = await to.fetch(
                SQL.enqueue,
                *columns,
                tenants,
                [job.batch for job in jobs],
                [job.key for job in jobs],
                args,
                [job.at for job in jobs],
                [job.delay for job in jobs],
                traces,
            )
        ids: list[int | None] = [None] * len(jobs)
        for row in rows:
            ids[row["ord"] - 1] = row["id"]
        return ids

    async def _insert_plain(self, job: NewJob, args: bytes, kind: Kind, to: Any) -> int:
        if not self.names.know(kind.name, kind.queue):
            await self.names.learn(self.db, [kind.name], [kind.queue])
        return await to.fetchval(
            SQL.enqueue_one,
            self.names.kind(kind.name),
            self.names.queue(kind.queue),
            job.priority + kind.priority,
            job.max_attempts or kind.max_attempts,
            job.tenant,
            args.decode(),
            job.trace,
        )

    async def declare_kinds(self) -> None:
        """Make the kinds known to SQL, which enqueues on connections of the application's own; once."""
        if not self._are_kinds_declared:
            await declare_kinds(self.db, self.registry)
            self._are_kinds_declared = True

    async def declare_limits(self, db: Database) -> None:
        """Make the limits that stand in code those of the database, for kinds whose names were learnt.

        Raises:
            DatabaseUnavailable: a change found no moment between the transactions of running jobs.
        """
        await declare_limits(db, {self.names.kind(kind.name): kind.limits for kind in self.registry})

    async def open_batch(
        self,
        conn: Connection,
        *,
        on_close: str,
        args: Mapping[str, Any],
        deadline: datetime | None = None,
        batch: UUID | None = None,
        tenant: UUID | None = None,
        trace: str | None = None,
    ) -> UUID:
        """Open a batch in the caller's transaction.

        ``on_close`` names the kind whose job runs once the batch is drained or its ``deadline`` (``tidemill.now()``)
        has passed; that job must call :func:`tidemill.engine.close_batch` in its fenced transaction. It belongs to
        ``trace``, a W3C traceparent; None takes that of the code that opens the batch.
        """
        kind = self.registry[on_close]
        await self.names.learn(self.db, [kind.name], [kind.queue])
        return await open_batch(
            conn,
            close_kind=self.names.kind(kind.name),
            close_queue=self.names.queue(kind.queue),
            args=args,
            deadline=deadline,
            batch=batch,
            tenant=tenant,
            trace=trace or tracing.current(),
        )
