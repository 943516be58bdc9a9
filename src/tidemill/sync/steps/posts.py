"""``sync_posts``: the account's list of posts, newest first, down to what is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta

from tidemill.connectors import ProviderError, TimeBudgetSpent, Window
from tidemill.connectors.threads import Post
from tidemill.sync.observed import Observed
from tidemill.sync.work import Report, Work

OLDEST = timedelta(days=365)
"""Posts older than this are never measured, so a first read does not go further back."""
MOST_AT_ONCE = 500
"""Posts that one transaction writes."""


async def read_posts(work: Work, report: Report) -> AsyncGenerator[Observed]:
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
                    yield work.observed(posts=read)
                    read = []
        except (ProviderError, TimeBudgetSpent):
            yield work.observed(posts=read)
            raise
    known = datetime.fromisoformat(cursor) if cursor else None
    yield work.observed(posts=read, watermark=None if known == work.watermark else known)
