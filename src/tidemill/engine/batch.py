"""Batches: jobs counted together, with one closing job at the end.

    open ──seal──▶ sealed ──drained──▶ closing ──closing job──▶ closed
      └──────────────┴─────deadline─────▶┘

Every terminal path of a member (done, partial, skipped, failed, dead, poison, cancelled) counts once, in the statement
that ends it. At the deadline what is left is ended ``skipped``, so a batch always closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from tidemill.engine.statements import SQL
from tidemill.postgres import Connection

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What a closed batch came to.

    Attributes:
        total: jobs added.
        finished: jobs that reached a terminal state.
        counts: terminal outcome → how many.
        reason: ``drained`` or ``deadline``.
    """

    total: int
    finished: int
    counts: dict[str, int]
    reason: str


async def open_batch(
    conn: Connection,
    *,
    close_kind: int,
    close_queue: int,
    args: Mapping[str, Any],
    deadline: datetime | None,
    batch: UUID | None = None,
    tenant: UUID | None = None,
    trace: str | None = None,
) -> UUID:
    """Insert an open batch; its closing job will get ``args`` plus ``batch`` and ``reason``."""
    given = _encode(args).decode()
    return await conn.fetchval(SQL.batch_open, batch, close_kind, close_queue, given, deadline, tenant, trace)


async def advance_batch(conn: Connection, batch: UUID, cursor: Any) -> bool:
    """Move a resumable fan-out's cursor; False when the batch takes no more jobs (its deadline has passed).

    Call it first in the chunk's transaction: it locks the batch against its deadline.
    """
    return await conn.fetchval(SQL.batch_advance, batch, cursor) is not None


async def seal_batch(conn: Connection, batch: UUID) -> bool:
    """Declare that all jobs are in; False when the batch was not open any more."""
    return await conn.fetchval(SQL.batch_seal, batch) is not None


async def close_batch(conn: Connection, batch: UUID) -> BatchSummary | None:
    """End a batch and free its lock, in the closing job's own transaction; None if another attempt did it already."""
    row = await conn.fetchrow(SQL.batch_close, batch)
    if row is None:
        return None
    return BatchSummary(row["total"], row["finished"], row["counts"], row["reason"])
