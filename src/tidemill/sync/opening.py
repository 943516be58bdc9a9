"""The first look at accounts whose jobs begin: what they need to know, and whether they are still theirs to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tidemill.connectors import Scopes
from tidemill.engine import Job
from tidemill.errors import LeaseLost
from tidemill.postgres import Database, Record
from tidemill.sync.statements import SQL


@dataclass(frozen=True, slots=True)
class Opening:
    """An account's job that begins."""

    job: Job
    run: UUID
    account: UUID
    scopes: Scopes


async def open_accounts(db: Database, openings: Sequence[Opening]) -> list[Record | Exception]:
    """Each account's state, its first open step marked as running; LeaseLost for a job that is not ours any more.

    Of an account that is gone, ``workspace_id`` is NULL.
    """
    rows = await db.fetch(
        SQL.account_open,
        [o.job.id for o in openings],
        [o.job.token for o in openings],
        [o.job.node for o in openings],
        [o.run for o in openings],
        [o.account for o in openings],
        [o.scopes.app for o in openings],
        [o.scopes.account for o in openings],
        [o.job.attempt + o.job.crashes for o in openings],
    )
    found = {row["job"]: row for row in rows}
    return [found.get(o.job.id) or LeaseLost(f"lease lost before job {o.job.id} began") for o in openings]
