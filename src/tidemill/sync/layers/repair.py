"""Layers 2 and 3 held against layer 1, and mended by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from tidemill.postgres import Connection, Record
from tidemill.sync.layers.statements import SQL

Finding = Literal["difference_missing", "difference_wrong", "difference_orphaned", "newest_wrong"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the layers disagreed.

    Attributes:
        owner: the post or account.
        slot: of the row of layer 2; None where layer 3 is meant.
    """

    owner: UUID
    slot: datetime | None
    finding: Finding


async def repair_post_metrics(conn: Connection, posts: Sequence[UUID], *, mend: bool) -> list[Difference]:
    """Find where layers 2 and 3 of posts are not what layer 1 makes them, in the caller's open transaction.

    With ``mend`` they are afterwards. Layer 1 is never touched; where its older snapshots have been dropped, the
    differences that rested on them are taken as right.
    """
    await conn.fetch(SQL.post_metrics_hold, list(posts))
    return _differences(await conn.fetch(SQL.post_metrics_repair, list(posts), mend))


async def repair_account_insights(conn: Connection, accounts: Sequence[UUID], *, mend: bool) -> list[Difference]:
    """The same of accounts, see :func:`repair_post_metrics`."""
    await conn.fetch(SQL.account_insights_hold, list(accounts))
    return _differences(await conn.fetch(SQL.account_insights_repair, list(accounts), mend))


def _differences(rows: Sequence[Record]) -> list[Difference]:
    return [Difference(*row) for row in rows]
