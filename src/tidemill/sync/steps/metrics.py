"""``sync_metrics``: a snapshot of each due post, three layers deep."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from uuid import UUID

from tidemill.connectors import Batch, Window
from tidemill.connectors.threads import PostInsights
from tidemill.postgres import Connection
from tidemill.sync.layers import PostObservation, write_post_metrics
from tidemill.sync.statements import SQL
from tidemill.sync.work import Report, Work, Write


async def read_metrics(work: Work, report: Report) -> AsyncGenerator[Write]:
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
            yield _write(work, batch, ids)


def tier_slots(slot: datetime) -> tuple[datetime, datetime, datetime, datetime]:
    """The slot itself and the beginnings (UTC) of its hour, day and week: each tier is due once in its own."""
    hour = slot.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    return slot, hour, day, day - timedelta(days=day.weekday())


def _write(work: Work, batch: Batch, ids: dict[str, UUID]) -> Write:
    async def write(conn: Connection) -> None:
        read: Sequence[PostInsights] = batch.records
        if read:
            observations = [
                PostObservation(
                    post_id=ids[post.post_id],
                    views=post.views,
                    likes=post.likes,
                    replies=post.replies,
                    reposts=post.reposts,
                    quotes=post.quotes,
                    shares=post.shares,
                )
                for post in read
            ]
            await write_post_metrics(
                conn, workspace_id=work.workspace, account_id=work.account, slot=work.slot, observations=observations
            )
        if batch.deletes:
            await conn.execute(SQL.tombstone_posts, work.workspace, [ids[post_id] for post_id in batch.deletes])

    return write
