"""A batch in the transaction of a connection of the application's own, asynchronous or not."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import msgspec.structs

from tidemill.engine.callers.asynchronous import fetch_on
from tidemill.engine.callers.enqueue import as_json
from tidemill.engine.callers.refusal import naming_refusals
from tidemill.engine.callers.synchronous import fetch_on_sync
from tidemill.engine.job import NewJob
from tidemill.engine.kind import Registry
from tidemill.engine.statements import SQL

_CHUNK = 1000

Conversation = Generator[tuple[str, list[Any]], list[tuple[Any, ...]], list[int | None]]
"""Statements with their parameters, one after the other; each is answered with its rows."""


def begin_batch(
    jobs: Sequence[NewJob],
    registry: Registry,
    *,
    on_close: str,
    args: Mapping[str, Any],
    deadline: datetime | None,
    tenant: UUID | None,
) -> Conversation:
    """Open a batch, enqueue its jobs and seal it; the jobs' ids, None for each whose key is held.

    Raises:
        InvalidInput: before the first statement, naming the argument that cannot be taken.
    """
    jobs = [registry[job.kind].checked(job) for job in jobs]
    options = [on_close, msgspec.json.encode(args).decode(), deadline and deadline.isoformat(), tenant and str(tenant)]
    [(batch,)] = yield SQL.batch_open_json, options
    ids: list[int | None] = []
    for start in range(0, len(jobs), _CHUNK):
        members = [msgspec.structs.replace(job, batch=UUID(batch)) for job in jobs[start : start + _CHUNK]]
        ids += [job for (job,) in (yield SQL.enqueue_json, [as_json(members)])]
    yield SQL.batch_seal_json, [batch]
    return ids


async def hold_with(conn: Any, conversation: Conversation) -> list[int | None]:
    """Hold it on what :func:`fetch_on` takes; raises what :func:`enqueue_with` does."""
    with naming_refusals():
        try:
            statement = next(conversation)
            while True:
                statement = conversation.send(await fetch_on(conn, *statement))
        except StopIteration as e:
            return e.value


def hold_with_sync(conn: Any, conversation: Conversation) -> list[int | None]:
    """The same on what :func:`fetch_on_sync` takes."""
    with naming_refusals():
        try:
            statement = next(conversation)
            while True:
                statement = conversation.send(fetch_on_sync(conn, *statement))
        except StopIteration as e:
            return e.value
