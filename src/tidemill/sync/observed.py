"""What a step has read, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tidemill.connectors.threads import Post
from tidemill.postgres import Connection
from tidemill.sync.layers import (
    AccountObservation,
    AccountSnapshot,
    PostObservation,
    PostSnapshots,
    write_account_insights,
    write_post_metrics,
)
from tidemill.sync.statements import SQL


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One account at one slot, as far as one step has read it.

    Attributes:
        workspace, account, slot: of what.
        posts: posts as the list told them.
        watermark: publishing time up to which the list is known now; None leaves it where it is.
        metrics: posts' metrics.
        gone: posts that the provider denies.
        insights: the account's own.
    """

    workspace: UUID
    account: UUID
    slot: datetime
    posts: Sequence[Post] = ()
    watermark: datetime | None = None
    metrics: Sequence[PostObservation] = ()
    gone: Sequence[UUID] = ()
    insights: AccountObservation | None = None


async def write_observed(conn: Connection, all_observed: Sequence[Observed]) -> None:
    """Write what was read of any number of accounts, none of them twice, in the caller's fenced transaction."""
    if posts := [(o, post) for o in all_observed for post in o.posts]:
        await conn.execute(
            SQL.upsert_posts,
            [o.workspace for o, _ in posts],
            [o.account for o, _ in posts],
            [post.id for _, post in posts],
            [post.published_at for _, post in posts],
            [post.text for _, post in posts],
            [post.media_type for _, post in posts],
            [post.media_url for _, post in posts],
            [post.permalink for _, post in posts],
            ["quote" if post.is_quote_post else "original" for _, post in posts],
        )
    if moved := [o for o in all_observed if o.watermark is not None]:
        await conn.execute(SQL.posts_done, [o.account for o in moved], [o.watermark for o in moved])
    await write_post_metrics(
        conn,
        [
            PostSnapshots(workspace_id=o.workspace, account_id=o.account, slot=o.slot, observations=o.metrics)
            for o in all_observed
            if o.metrics
        ],
    )
    if gone := [(o.workspace, post) for o in all_observed for post in o.gone]:
        await conn.execute(SQL.tombstone_posts, [workspace for workspace, _ in gone], [post for _, post in gone])
    await write_account_insights(
        conn,
        [
            AccountSnapshot(workspace_id=o.workspace, account_id=o.account, slot=o.slot, insights=o.insights)
            for o in all_observed
            if o.insights is not None
        ],
    )
