"""Three layers of metric history: snapshots as observed, their differences, the newest known values.

The only writer of the layers' tables. In whatever order snapshots arrive, and however often, the layers say the same.
"""

from __future__ import annotations

from tidemill.sync.layers.account_insights import AccountObservation, AccountSnapshot, DayViews, write_account_insights
from tidemill.sync.layers.post_metrics import PostObservation, PostSnapshots, write_post_metrics
from tidemill.sync.layers.repair import Difference, repair_account_insights, repair_post_metrics
from tidemill.sync.layers.views_days import replay_views_days
from tidemill.sync.layers.written import Written

__all__ = [
    "AccountObservation",
    "AccountSnapshot",
    "DayViews",
    "Difference",
    "PostObservation",
    "PostSnapshots",
    "Written",
    "repair_account_insights",
    "repair_post_metrics",
    "replay_views_days",
    "write_account_insights",
    "write_post_metrics",
]
