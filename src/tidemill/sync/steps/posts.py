"""``sync_posts``: the account's list of posts, newest first, down to what is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

from tidemill.connectors import ProviderError, TimeBudgetSpent, Window
from tidemill.connectors.threads import Post
from tidemill.postgres import Connection
from tidemill.sync.statements import SQL
from tidemill.sync.work import Report, Work, Write

OLDEST = timedelta(days=365)
"""Posts older than this are never measured, so a first read does not go further back."""
MOST_AT_ONCE = 500
"""Posts that one transaction writes."""


async def read_posts(work: Work, report: Report) -> AsyncGenerator[Write]:
    """Pages are written together, up to :data:`MOST_AT_ONCE` posts; the watermark moves with the last ones only."""
    cursor = work.watermark.isoformat() if work.watermark else None
    stream = work.read("posts", cursor=cursor, window=Window(since=work.slot - OLDEST))
    read: list[Post] = []
    async with aclosing(stream) as batches:
        try:
            async for batch in batches:
                report.missed(batch)
                report.add("posts_synced", len(batch.records))
                report.wrote = True  # an empty list is an answer too
                read.extend(batch.records)
                if batch.cursor_after is not None:
                    cursor = batch.cursor_after
                elif len(read) >= MOST_AT_ONCE:
                    yield _write(work, read, None)
                    read = []
        except (ProviderError, TimeBudgetSpent):
            yield _write(work, read, None)
            raise
    yield _write(work, read, datetime.fromisoformat(cursor) if cursor else None)


def _write(work: Work, posts: Sequence[Post], watermark: datetime | None) -> Write:
    async def write(conn: Connection) -> None:
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
        if watermark is not None and watermark != work.watermark:
            await conn.execute(SQL.posts_done, work.account, watermark)

    return write
