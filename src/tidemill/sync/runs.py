"""What a run looks like from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from tidemill.errors import InvalidInput

Step = Literal["sync_posts", "sync_metrics", "sync_account_insights"]
STEPS: tuple[Step, ...] = ("sync_posts", "sync_metrics", "sync_account_insights")
"""The steps of an account, in order: metrics need the posts' ids, insights need neither."""


class TokenExpired(InvalidInput):
    """The account has no token that the provider would take; it must be connected again."""


@dataclass(frozen=True, slots=True)
class Triggered:
    """The answer to a trigger: a run that was started, or the reason why none was.

    Attributes:
        run_id: the run, or the row that records the skip.
        skipped: whether nothing was started.
        reason: why it was skipped: ``already_running``, ``already_ran``.
        locked_until: when the lease that stands in the way ends, if one does.
    """

    run_id: UUID
    skipped: bool = False
    reason: str | None = None
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as it stands. ``total_accounts`` = success + error + skipped once it is final."""

    run_id: UUID
    status: str
    started_at: datetime
    completed_at: datetime | None
    total_accounts: int
    success_count: int
    error_count: int
    skipped_count: int
    results: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    skipped_reason: str | None = None

    @property
    def final(self) -> bool:
        """Whether nothing of it is still to come."""
        return self.completed_at is not None
