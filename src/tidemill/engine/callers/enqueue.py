"""Jobs in the transaction of a connection of the application's own, in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill.engine import tracing
from tidemill.engine.callers.asynchronous import fetch_on
from tidemill.engine.callers.refusal import naming_refusals
from tidemill.engine.callers.synchronous import fetch_on_sync
from tidemill.engine.job import NewJob
from tidemill.engine.kind import Kind, Registry
from tidemill.engine.statements import SQL


async def enqueue_with(conn: Any, jobs: Sequence[NewJob], registry: Registry) -> list[int | None]:
    """Enqueue jobs in the caller's transaction; the answer has None for each whose unique key is held.

    The kinds must have been declared to the database (:func:`tidemill.engine.declare.declare_kinds`). The transaction
    is neither committed nor rolled back.

    Args:
        conn: what :func:`fetch_on` takes.
        jobs: enqueued all or none.
        registry: the kinds this application knows.

    Raises:
        InvalidInput: naming what cannot be taken. What only the database can tell, that a kind is not declared, fails
            the caller's transaction, as any error of a statement does.
        EnqueueBlocked: when another open transaction has been taking a key for too long; fails it likewise.
    """
    if not jobs:
        return []
    kinds = [registry[job.kind] for job in jobs]
    with tracing.enqueuing(_checked(jobs, kinds), kinds) as sending, naming_refusals():
        ids = [job for (job,) in await fetch_on(conn, SQL.enqueue_json, [as_json(sending.jobs)])]
        sending.became(ids)
    return ids


def enqueue_with_sync(conn: Any, jobs: Sequence[NewJob], registry: Registry) -> list[int | None]:
    """:func:`enqueue_with` on a synchronous connection, as :func:`fetch_on_sync` takes it; raises the same."""
    if not jobs:
        return []
    kinds = [registry[job.kind] for job in jobs]
    with tracing.enqueuing(_checked(jobs, kinds), kinds) as sending, naming_refusals():
        ids = [job for (job,) in fetch_on_sync(conn, SQL.enqueue_json, [as_json(sending.jobs)])]
        sending.became(ids)
    return ids


def _checked(jobs: Sequence[NewJob], kinds: Sequence[Kind]) -> list[NewJob]:
    return [kind.checked(job) for kind, job in zip(kinds, jobs, strict=True)]


def as_json(jobs: Sequence[NewJob]) -> str:
    """What ``tidemill.enqueue_many`` takes."""
    return msgspec.json.encode(
        [
            {
                "kind": job.kind,
                "args": job.args,
                "key": job.key,
                "priority": job.priority,
                "run_at": job.at,
                "delay": job.delay,
                "tenant": job.tenant,
                "batch": job.batch,
                "max_attempts": job.max_attempts,
                "trace": job.trace,
            }
            for job in jobs
        ]
    ).decode()
