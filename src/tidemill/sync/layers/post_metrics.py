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


@dataclass(frozen=True, slots=True, kw_only=True)
class PostSnapshots:
    """What one account's posts said at one slot.

    Attributes:
        workspace_id: the tenant.
        account_id: the account; posts that are not its are left out and counted as ``unknown``.
        slot: ``sync_batch_at``, with a time zone.
        observations: at most one of each post.
    """

    workspace_id: UUID
    account_id: UUID
    slot: datetime
    observations: Sequence[PostObservation]


async def write_post_metrics(conn: Connection, snapshots: Sequence[PostSnapshots], *, correct: bool = False) -> Written:
    """Write snapshots of posts into layers 1, 2 and 3, in the caller's open transaction, fenced by the caller.

    One statement if every slot is newer than all that is known of its posts, one more for each slot that is late for
    some, one more with ``correct``; whatever the number of posts and accounts. The layers depend on what was observed,
    not on the order of arrival, and an observation that is there already changes nothing.

    - Layer 1 keeps the observation.
    - Layer 2: a metric's delta is its value less the last known one at an earlier slot. On the post's first snapshot it
      counts from zero, and is a baseline if the post was 30 minutes old by then. What is unknown stays NULL.
    - Layer 3 is the newest known value of every metric.

    Args:
        conn: inside a transaction.
        snapshots: of any number of accounts; no post in two of them.
        correct: take observations that differ from the slot's live ones as new revisions, instead of ignoring them.

    Raises:
        InvalidInput: a post observed twice, a value not within ±2⁶², a slot without a time zone.
    """
    for s in snapshots:
        check_slot(s.slot)
    rows = [(s, o) for s in snapshots for o in s.observations]
    slots = {o.post_id: s.slot for s, o in rows}
    if len(slots) < len(rows):
        raise InvalidInput("observations", "a post may be observed only once at a slot")
    columns = [
        [o.views for _, o in rows],
        [o.likes for _, o in rows],
        [o.replies for _, o in rows],
        [o.reposts for _, o in rows],
        [o.quotes for _, o in rows],
        [o.shares for _, o in rows],
    ]
    for name, column in zip(_METRICS, columns, strict=True):
        check_counts(name, column)
    if not rows:
        return Written()

    owners = ([s.workspace_id for s, _ in rows], [s.account_id for s, _ in rows], list(slots.values()))
    given = (*owners, list(slots), *columns)
    [row] = await conn.fetch(SQL.post_metrics_write, *given)
    inserted: int = row["inserted"]
    stale: list[UUID] = row["late"]
    if correct and inserted < row["found"]:
        corrected = [r["id"] for r in await conn.fetch(SQL.post_metrics_correct, *given)]
        inserted += len(corrected)
        stale += corrected
    recalculated = 0
    for slot in {slots[post_id] for post_id in stale}:
        late = [post_id for post_id in stale if slots[post_id] == slot]
        recalculated += await conn.fetchval(SQL.post_metrics_rederive, late, slot)
    return Written(inserted, recalculated, len(rows) - row["found"])
