"""``sync_posts``: the account's list of posts, newest first, down to what is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

from tidemill.connectors import Batch, Window
from tidemill.connectors.threads import Post
from tidemill.postgres import Connection
from tidemill.sync.statements import SQL
from tidemill.sync.work import Report, Work, Write

OLDEST = timedelta(days=365)
"""Posts older than this are never measured, so a first read does not go further back."""


async def read_posts(work: Work, report: Report) -> AsyncGenerator[Write]:
    """Each batch is a page; the watermark moves with the last one only."""
    cursor = work.watermark.isoformat() if work.watermark else None
    stream = work.read("posts", cursor=cursor, window=Window(since=work.slot - OLDEST))
    async with aclosing(stream) as batches:
        async for batch in batches:
            report.missed(batch)
            report.add("posts_synced", len(batch.records))
            report.wrote = True  # an empty list is an answer too
            yield _write(work, batch)


def _write(work: Work, batch: Batch) -> Write:
    async def write(conn: Connection) -> None:
        posts: Sequence[Post] = batch.records
        if posts:
            await conn.execute(
                SQL.upsert_posts,
                work.workspace,
                work.account,
                [post.id for post in posts],
                [post.published_at for post in posts],
                [post.text for post in posts],
                [post.media_type for post in posts],
                [post.media_url for post in posts],
                [post.permalink for post in posts],
                ["quote" if post.is_quote_post else "original" for post in posts],
            )
        if batch.cursor_after is not None:
            await conn.execute(SQL.posts_done, work.account, datetime.fromisoformat(batch.cursor_after))

    return write
