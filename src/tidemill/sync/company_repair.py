"""The repair of a company's Threads accounts: what stands in the layers and logs and cannot be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tidemill.engine import Done, Outcome, Partial, Snooze
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection
from tidemill.sync import account
from tidemill.sync.company import workspaces_of
from tidemill.sync.jobs import Run
from tidemill.sync.layers import Difference, repair_account_insights, repair_post_metrics
from tidemill.sync.statements import SQL
from tidemill.sync.telling import Telling

POSTS = 200
"""Posts that one transaction looks at."""
ACCOUNTS = 500
FEW = 5
"""Places that an action names; it counts them all."""


@dataclass(frozen=True, slots=True)
class CompanyRepair:
    """The job type ``repair`` where the connector's provider is Threads.

    Layers 2 and 3 are held against layer 1, log rows against the jobs that should be at them. What layer 1 lacks is
    told as unrecoverable: the provider gives totals as they are, not as they were.
    """

    name: str = "repair"

    def check(self, payload: Mapping[str, Any]) -> None:
        """``{}``, or ``workspaces`` (ids) and ``dry_run``."""
        workspaces_of(payload, others=("dry_run",))
        if not isinstance(payload.get("dry_run", False), bool):
            raise InvalidInput("dry_run", "is true or false")

    async def run(self, run: Run) -> Outcome:
        """One account after the other, until the time is up; the next attempt goes on behind what was told of."""
        mend = not run.payload.get("dry_run", False)
        workspaces = workspaces_of(run.payload, others=("dry_run",))
        telling = await Telling.load(run)
        while page := await run.ctx.db.fetch(SQL.company_accounts, run.company, workspaces, telling.after, ACCOUNTS):
            for row in page:
                await self._account(run, row["id"], telling, mend=mend)
                if run.read.remaining() <= 0:
                    return Snooze(0, "more accounts to look at")
        metrics = {"counts": dict(telling.counts), "dry_run": not mend}
        return Partial("unrecoverable", metrics) if telling.counts["unrecoverable"] else Done(metrics)

    async def _account(self, run: Run, account_id: UUID, telling: Telling, *, mend: bool) -> None:
        """One account, its posts page by page; what was found is written with what was mended."""
        place = telling.place_in(account_id)
        after = UUID(place) if place else None
        while posts := [row["id"] for row in await run.ctx.db.fetch(SQL.posts_of, account_id, after, POSTS)]:
            async with run.transaction() as conn:
                found = await repair_post_metrics(conn, posts, mend=mend)
                after = posts[-1]
                await telling.within(conn, account_id, str(after), _actions("posts", account_id, found, mend=mend))
        async with run.transaction() as conn:
            found = await repair_account_insights(conn, [account_id], mend=mend)
            actions = _actions("account", account_id, found, mend=mend)
            actions += await self._rows(conn, account_id, mend=mend)
            actions += await self._lost(conn, account_id)
            telling.counts["accounts"] += 1
            await telling.through(conn, account_id, actions)

    async def _rows(self, conn: Connection, account_id: UUID, *, mend: bool) -> list[dict[str, Any]]:
        rows = await conn.fetch(SQL.rows_abandoned, account_id, account.KIND, mend)
        if not rows:
            return []
        places = [f"{row['job_type']} {row['slot'].isoformat() if row['slot'] else ''}".strip() for row in rows[:FEW]]
        return [_action("run_abandoned", "logs", account_id, len(rows), places, mend=mend)]

    async def _lost(self, conn: Connection, account_id: UUID) -> list[dict[str, Any]]:
        row = await conn.fetchrow(SQL.slots_lost, account_id, FEW)
        if row is None or not row["slots"]:
            return []
        places = [slot.isoformat() for slot in row["newest"]]
        return [
            {
                **_action("slot_missing", "account", account_id, row["slots"], places, mend=False),
                "action": "unrecoverable",
            }
        ]


def _actions(what: str, account_id: UUID, found: Sequence[Difference], *, mend: bool) -> list[dict[str, Any]]:
    """One action a finding."""
    actions: list[dict[str, Any]] = []
    for finding in sorted({difference.finding for difference in found}):
        those = [difference for difference in found if difference.finding == finding]
        places = [f"{d.owner} {d.slot.isoformat() if d.slot else ''}".strip() for d in those[:FEW]]
        actions.append(_action(finding, what, account_id, len(those), places, mend=mend))
    return actions


def _action(
    finding: str, what: str, account_id: UUID, count: int, places: Sequence[str], *, mend: bool
) -> dict[str, Any]:
    return {
        "finding": finding,
        "action": "mended" if mend else "found",
        "of": what,
        "account": str(account_id),
        "count": count,
        "places": list(places),
    }
