"""Meta's Threads."""

from __future__ import annotations

from tidemill.connectors.threads.client import ThreadsClient
from tidemill.connectors.threads.connector import ThreadsConnector
from tidemill.connectors.threads.models import (
    POST_METRICS,
    AccountInsights,
    DayViews,
    LongToken,
    Post,
    PostInsights,
    Profile,
    ShortToken,
)
from tidemill.connectors.threads.oauth import ThreadsOAuth

__all__ = [
    "POST_METRICS",
    "AccountInsights",
    "DayViews",
    "LongToken",
    "Post",
    "PostInsights",
    "Profile",
    "ShortToken",
    "ThreadsClient",
    "ThreadsConnector",
    "ThreadsOAuth",
]
