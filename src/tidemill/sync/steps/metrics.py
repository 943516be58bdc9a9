"""``sync_metrics``: a snapshot of each due post, three layers deep."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from uuid import UUID

from tidemill.connectors import Window
from tidemill.connectors.threads import PostInsights
from tidemill.sync.layers import PostObservation
from tidemill.sync.observed import Observed
from tidemill.sync.statements import SQL
from tidemill.sync.work import Report, Work


async def read_metrics(work: Work, report: Report) -> AsyncGenerator[Observed]:
    """Posts whose age makes them due in this slot; what this run already wrote is not due again."""
    rows = await work.ctx.db.fetch(SQL.due_posts, work.account, *tier_slots(work.slot))
    ids = {row["threads_post_id"]: row["id"] for row in rows}
    if not ids:
        report.wrote = True
        return
    async with aclosing(work.read("post_insights", window=Window(entities=list(ids)))) as batches:
        async for batch in batches:
            report.missed(batch)
            report.add("metrics_updated", len(batch.records))
            read: Sequence[PostInsights] = batch.records
            yield work.observed(
                metrics=[_observation(ids[post.post_id], post) for post in read],
                gone=[ids[post_id] for post_id in batch.deletes],
            )


def tier_slots(slot: datetime) -> tuple[datetime, datetime, datetime, datetime]:
    """The slot itself and the beginnings (UTC) of its hour, day and week: each tier is due once in its own."""
    hour = slot.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    return slot, hour, day, day - timedelta(days=day.weekday())


def _observation(post_id: UUID, read: PostInsights) -> PostObservation:
    return PostObservation(
        post_id=post_id,
        views=read.views,
        likes=read.likes,
        replies=read.replies,
        reposts=read.reposts,
        quotes=read.quotes,
        shares=read.shares,
    )
