"""The three steps of an account. Each reads in batches and hands out what is to be written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from tidemill.sync.runs import Step
from tidemill.sync.steps.account_insights import read_account_insights
from tidemill.sync.steps.metrics import read_metrics
from tidemill.sync.steps.posts import read_posts
from tidemill.sync.work import Report, Work, Write

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True, slots=True)
class Reader:
    """How a step reads, and which counts it keeps in ``sync_logs.metadata``."""

    read: Callable[[Work, Report], AsyncGenerator[Write]]
    counts: tuple[str, ...]


READERS: dict[Step, Reader] = {
    "sync_posts": Reader(read_posts, ("posts_synced",)),
    "sync_metrics": Reader(read_metrics, ("metrics_updated",)),
    "sync_account_insights": Reader(read_account_insights, ("insights_synced",)),
}
