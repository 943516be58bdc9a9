"""Metrics of posts: what the provider said at a slot, into all three layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tidemill.errors import InvalidInput
from tidemill.postgres import Connection
from tidemill.sync.layers.statements import SQL
from tidemill.sync.layers.written import Written, check_counts, check_slot

_METRICS = ("views", "likes", "replies", "reposts", "quotes", "shares")


@dataclass(frozen=True, slots=True)
class PostObservation:
    """Lifetime totals of one post as the provider gave them; None is what it did not say, never 0."""

    post_id: UUID
    views: int | None = None
    likes: int | None = None
    replies: int | None = None
    reposts: int | None = None
    quotes: int | None = None
    shares: int | None = None


async def write_post_metrics(
    conn: Connection,
    *,
    workspace_id: UUID,
    account_id: UUID,
    slot: datetime,
    observations: Sequence[PostObservation],
    correct: bool = False,
) -> Written:
    """Write one slot's snapshots of one account's posts into layers 1, 2 and 3, in the caller's open transaction.

    One statement if the slot is newer than everything known of its posts, two if it is late for some, one more with
    ``correct``; whatever the number of posts. The layers depend on what was observed, not on the order of arrival, and
    an observation that is there already changes nothing.

    - Layer 1 keeps the observation.
    - Layer 2: a metric's delta is its value less the last known one at an earlier slot. On the post's first snapshot it
      counts from zero, and is a baseline if the post was 30 minutes old by then. What is unknown stays NULL.
    - Layer 3 is the newest known value of every metric.

    Args:
        conn: inside a transaction, fenced by the caller.
        workspace_id: the tenant.
        account_id: the account; posts that are not its are left out and counted as ``unknown``.
        slot: ``sync_batch_at``, with a time zone.
        observations: at most one of each post.
        correct: take observations that differ from the slot's live ones as new revisions, instead of ignoring them.

    Raises:
        InvalidInput: a post observed twice, a value not within ±2⁶², a slot without a time zone.
    """
    check_slot(slot)
    ids = [o.post_id for o in observations]
    if len(set(ids)) < len(ids):
        raise InvalidInput("observations", "a post may be observed only once at a slot")
    columns = [
        [o.views for o in observations],
        [o.likes for o in observations],
        [o.replies for o in observations],
        [o.reposts for o in observations],
        [o.quotes for o in observations],
        [o.shares for o in observations],
    ]
    for name, column in zip(_METRICS, columns, strict=True):
        check_counts(name, column)
    if not ids:
        return Written()

    given = (workspace_id, account_id, slot, ids, *columns)
    [row] = await conn.fetch(SQL.post_metrics_write, *given)
    inserted: int = row["inserted"]
    stale: list[UUID] = row["late"]
    if correct and inserted < row["found"]:
        corrected = [r["id"] for r in await conn.fetch(SQL.post_metrics_correct, *given)]
        inserted += len(corrected)
        stale += corrected
    recalculated = await conn.fetchval(SQL.post_metrics_rederive, stale, slot) if stale else 0
    return Written(inserted, recalculated, len(ids) - row["found"])
