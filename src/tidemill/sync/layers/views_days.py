"""Days of an account's views, read once more: the one part of the layers that the provider gives as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from tidemill.postgres import Connection
from tidemill.sync.layers.account_insights import DayViews
from tidemill.sync.layers.statements import SQL
from tidemill.sync.layers.written import check_counts, check_slot

ReplayMode = Literal["fill", "overwrite", "dry_run"]


@dataclass(frozen=True, slots=True)
class DaysFound:
    """What a replay found, by the days' ends: ``new`` ones, and those that are known with ``other`` views."""

    new: Sequence[datetime]
    other: Sequence[datetime]


async def replay_views_days(
    conn: Connection, *, workspace: UUID, account: UUID, slot: datetime, days: Sequence[DayViews], mode: ReplayMode
) -> DaysFound:
    """Hold days against what is known of them, in the caller's open transaction, fenced by the caller.

    ``fill`` writes the new ones, ``overwrite`` the others too, ``dry_run`` none. As with every observation of a day,
    the one of the later slot counts.

    Raises:
        InvalidInput: a value not within ±2⁶², a slot without a time zone.
    """
    check_slot(slot)
    check_counts("views", [day.views for day in days])
    await conn.fetch(SQL.account_insights_hold, [account])
    rows = await conn.fetch(
        SQL.views_days_replay,
        workspace,
        account,
        slot,
        [day.end_time for day in days],
        [day.views for day in days],
        mode,
    )
    return DaysFound(
        [row["end_time"] for row in rows if row["is_new"]], [row["end_time"] for row in rows if not row["is_new"]]
    )
