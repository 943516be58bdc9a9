"""``sync_account_insights``: followers now, the last seven days' totals, and views by day."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

from tidemill.connectors import Window
from tidemill.connectors.threads import AccountInsights
from tidemill.sync.layers import AccountObservation, DayViews
from tidemill.sync.observed import Observed
from tidemill.sync.work import Report, Work

PERIOD = timedelta(days=7)


async def read_account_insights(work: Work, report: Report) -> AsyncGenerator[Observed]:
    """One observation; a figure that could not be had is NULL and counts as missing."""
    window = Window(since=work.slot - PERIOD, until=work.slot)
    async with aclosing(work.read("account_insights", window=window)) as batches:
        async for batch in batches:
            report.missed(batch)
            report.add("insights_synced", len(batch.records))
            for record in batch.records:
                yield work.observed(insights=_observation(record))


def _observation(read: AccountInsights) -> AccountObservation:
    days = sorted(read.views, key=lambda day: day.end_time)
    return AccountObservation(
        followers_count=read.followers_count,
        profile_views=days[-1].value if days else None,
        likes_count_7d=read.likes,
        views_count_7d=read.views_total,
        views_by_day=[DayViews(end_time=day.end_time, views=day.value) for day in days],
    )
