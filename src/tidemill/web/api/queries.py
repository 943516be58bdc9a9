"""What lists may be asked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

__all__ = ["ConnectorQuery", "NoQuery", "NotificationQuery", "Paging", "RecordQuery", "RunQuery", "SyncJobQuery"]

Limit = Annotated[int, Meta(ge=1, le=200, description="Items of a page at most.")]
# Of a key of any length that fits into the line of a request.
After = Annotated[str, Meta(max_length=6000, pattern=r"^[A-Za-z0-9_-]+$", description="next of the page before.")]


class NoQuery(Struct, forbid_unknown_fields=True):
    """Nothing."""


class Paging(Struct, forbid_unknown_fields=True):
    """Which part of a list."""

    limit: Limit = 50
    after: After | None = None


class ConnectorQuery(Paging, forbid_unknown_fields=True):
    """Which connectors."""

    provider: Annotated[str, Meta(max_length=50, pattern=r"^[^\x00]*$")] | None = None


class SyncJobQuery(Paging, forbid_unknown_fields=True):
    """Which sync jobs."""

    connector_id: UUID | None = None
    status: Literal["idle", "queued", "running", "paused", "disabled", "error"] | None = None


class RunQuery(Paging, forbid_unknown_fields=True):
    """Which runs."""

    job_id: UUID | None = None
    connector_id: UUID | None = None
    status: Literal["pending", "running", "completed", "partial", "failed", "skipped"] | None = None


class RecordQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which records, in the order in which they changed."""

    connector_id: UUID
    stream: Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$")]
    changed_since: Annotated[datetime, Meta(description="Inclusive; with an offset.")] | None = None
    limit: Limit = 50
    after: After | None = None


class NotificationQuery(Paging, forbid_unknown_fields=True):
    """Which notifications."""

    unread: Annotated[bool, Meta(description="Only those that nobody has ticked off.")] = False
