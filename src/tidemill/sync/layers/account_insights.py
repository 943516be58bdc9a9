"""Insights of accounts: what the provider said at a slot, into all three layers, and the days of views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tidemill.errors import InvalidInput
from tidemill.postgres import Connection
from tidemill.sync.layers.statements import SQL
from tidemill.sync.layers.written import Written, check_counts, check_slot

_GAUGES = ("followers_count", "profile_views", "likes_count_7d", "views_count_7d")


@dataclass(frozen=True, slots=True)
class DayViews:
    """An account's views on one of the provider's days, named by its end; the running day is as far as it has got."""

    end_time: datetime
    views: int


@dataclass(frozen=True, slots=True)
class AccountObservation:
    """An account's insights as the provider gave them; None is what it did not say, never 0."""

    followers_count: int | None = None
    profile_views: int | None = None
    likes_count_7d: int | None = None
    views_count_7d: int | None = None
    demographics: dict[str, Any] | None = None
    views_by_day: Sequence[DayViews] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSnapshot:
    """What one account said of itself at one slot (``sync_batch_at``, with a time zone)."""

    workspace_id: UUID
    account_id: UUID
    slot: datetime
    insights: AccountObservation


async def write_account_insights(
    conn: Connection, snapshots: Sequence[AccountSnapshot], *, correct: bool = False
) -> Written:
    """Write snapshots of accounts into layers 1, 2 and 3, in the caller's open transaction, fenced by the caller.

    One statement, one more for each account whose slot is not its newest, one more for each with ``correct``. The rules
    are those of :func:`tidemill.sync.layers.write_post_metrics`, except that a gauge has no birth: the first snapshot
    has no deltas, and none is a baseline. ``profile_views`` is part of a day and is not differenced. Days of views are
    kept by their end; of two observations of a day the one of the later slot counts.

    Args:
        conn: inside a transaction.
        snapshots: at most one of each account.
        correct: take what differs from the live snapshot of the slot as a new revision, instead of ignoring it.

    Raises:
        InvalidInput: an account or a day given twice, a value not within ±2⁶², a slot or a day without a time zone.
    """
    slots = {s.account_id: s.slot for s in snapshots}
    if len(slots) < len(snapshots):
        raise InvalidInput("snapshots", "an account may be observed only once at a time")
    for s in snapshots:
        _check(s)
    if not snapshots:
        return Written()

    days = [(s.account_id, day) for s in snapshots for day in s.insights.views_by_day]
    columns = zip(*(_row(s) for s in snapshots), strict=True)
    [row] = await conn.fetch(
        SQL.account_insights_write,
        *map(list, columns),
        [account for account, _ in days],
        [day.end_time for _, day in days],
        [day.views for _, day in days],
        correct,
    )
    inserted: int = row["inserted"]
    stale: list[UUID] = row["late"]
    if correct and inserted < row["found"]:
        corrected = [s.account_id for s in snapshots if await conn.fetchval(SQL.account_insights_correct, *_row(s))]
        inserted += len(corrected)
        stale += corrected
    recalculated = 0
    for account in stale:
        recalculated += await conn.fetchval(SQL.account_insights_rederive, account, slots[account])
    return Written(inserted, recalculated, len(snapshots) - row["found"])


def _check(snapshot: AccountSnapshot) -> None:
    check_slot(snapshot.slot)
    insights = snapshot.insights
    for name in _GAUGES:
        check_counts(name, [getattr(insights, name)])
    days = insights.views_by_day
    check_counts("views_by_day", [day.views for day in days])
    if any(day.end_time.utcoffset() is None for day in days):
        raise InvalidInput("views_by_day", "a day's end needs a time zone")
    if len({day.end_time for day in days}) < len(days):
        raise InvalidInput("views_by_day", "a day may be observed only once at a slot")


def _row(s: AccountSnapshot) -> tuple[Any, ...]:
    gauges = (getattr(s.insights, name) for name in _GAUGES)
    return (s.workspace_id, s.account_id, s.slot, *gauges, s.insights.demographics)
