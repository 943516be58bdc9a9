"""The three steps of an account. Each reads in batches and hands out what it observed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from tidemill.sync.observed import Observed
from tidemill.sync.runs import Step
from tidemill.sync.steps.account_insights import read_account_insights
from tidemill.sync.steps.metrics import read_metrics
from tidemill.sync.steps.posts import read_posts
from tidemill.sync.work import Report, Work

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True, slots=True)
class Reader:
    """How a step reads.

    Attributes:
        read: hands out what it observed, to be written.
        counts: what it keeps in ``sync_logs.metadata``.
        from_start: whether a repeated attempt reads everything again, not only what is left.
    """

    read: Callable[[Work, Report], AsyncGenerator[Observed]]
    counts: tuple[str, ...]
    from_start: bool = False

    def report(self, earlier: dict[str, Any] | None) -> Report:
        """A report to begin with, given the ``sync_logs.metadata`` of an interrupted attempt."""
        return Report.resume(self.counts, earlier, from_start=self.from_start)


READERS: dict[Step, Reader] = {
    "sync_posts": Reader(read_posts, ("posts_synced",), from_start=True),
    "sync_metrics": Reader(read_metrics, ("metrics_updated",)),
    "sync_account_insights": Reader(read_account_insights, ("insights_synced",)),
}
