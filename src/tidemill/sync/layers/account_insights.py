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


async def write_account_insights(
    conn: Connection,
    *,
    workspace_id: UUID,
    account_id: UUID,
    slot: datetime,
    insights: AccountObservation,
    correct: bool = False,
) -> Written:
    """Write one slot's snapshot of one account into layers 1, 2 and 3, in the caller's open transaction.

    One statement if the slot is the account's newest, two if it is late, one more with ``correct``. The rules are those
    of :func:`tidemill.sync.layers.write_post_metrics`, except that a gauge has no birth: the first snapshot has no
    deltas, and none is a baseline. ``profile_views`` is part of a day and is not differenced. Days of views are kept by
    their end; of two observations of a day the one of the later slot counts.

    Args:
        conn: inside a transaction, fenced by the caller.
        workspace_id: the tenant.
        account_id: the account.
        slot: ``sync_batch_at``, with a time zone.
        insights: what was observed.
        correct: take what differs from the live snapshot of the slot as a new revision, instead of ignoring it.

    Raises:
        InvalidInput: a day given twice, a value not within ±2⁶², a slot or a day without a time zone.
    """
    check_slot(slot)
    gauges = (insights.followers_count, insights.profile_views, insights.likes_count_7d, insights.views_count_7d)
    for name, value in zip(_GAUGES, gauges, strict=True):
        check_counts(name, [value])
    ends, views = [d.end_time for d in insights.views_by_day], [d.views for d in insights.views_by_day]
    check_counts("views_by_day", views)
    if any(end.utcoffset() is None for end in ends):
        raise InvalidInput("views_by_day", "a day's end needs a time zone")
    if len(set(ends)) < len(ends):
        raise InvalidInput("views_by_day", "a day may be observed only once at a slot")

    given = (workspace_id, account_id, slot, *gauges, insights.demographics)
    [row] = await conn.fetch(SQL.account_insights_write, *given, ends, views, correct)
    inserted: int = row["inserted"]
    stale: bool = row["late"]
    if correct and inserted < row["found"] and await conn.fetchval(SQL.account_insights_correct, *given):
        inserted, stale = 1, True
    recalculated = await conn.fetchval(SQL.account_insights_rederive, account_id, slot) if stale else 0
    return Written(inserted, recalculated, 1 - row["found"])
