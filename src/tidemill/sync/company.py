"""A company's sync of its Threads accounts: those of its workspaces, by the path that every sync takes.

The run's batch carries the run's id. Its jobs are the accounts', so a lease an account holds here too; the closing job
leaves no log row open; the run itself waits for that, and counts. A run that is ended by somebody else stops its batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from tidemill.engine import (
    Backoff,
    Context,
    Done,
    Engine,
    Fail,
    Kind,
    Outcome,
    Partial,
    Skip,
    Snooze,
    advance_batch,
    close_batch,
    seal_batch,
)
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database
from tidemill.sync.fan_out import CHUNK, add_accounts
from tidemill.sync.jobs import Run
from tidemill.sync.outcomes import run_status
from tidemill.sync.scheduled import MOST_RESULTS
from tidemill.sync.statements import SQL

CLOSE = "company_accounts.close"
DEADLINE = timedelta(hours=1)
"""After which what is left of a run is skipped."""
_WAIT_S = 20.0
"""For how long an attempt waits for the accounts before it makes room for others."""
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class CompanyAccounts:
    """The job type ``sync`` where the connector's provider is Threads."""

    engine: Engine
    name: str = "sync"

    def check(self, payload: Mapping[str, Any]) -> None:
        """``{}`` for all workspaces of the company, or ``{"workspaces": [ids]}``."""
        workspaces_of(payload)

    async def run(self, run: Run) -> Outcome:
        """Add the accounts, wait for them, count. A later attempt goes on where the one before was."""
        await self._add(run)
        if not await self._is_closed(run):
            return Snooze(_LAST_LOOK_S, "accounts under way")
        counts, metrics = await _totals(self.engine.db, run.id)
        match run_status(**counts):
            case "completed":
                return Done(metrics)
            case "skipped":
                return Skip("all_skipped", metrics)
            case "failed":
                return Fail("accounts_failed", {**metrics, "error": _first_error(metrics["results"])})
            case _:
                return Partial("accounts_failed", metrics)

    def closing_kind(self) -> Kind:
        """The kind of the batches' closing jobs, for the registry."""
        return Kind(CLOSE, self.close, max_attempts=100, backoff=Backoff(base=0.5, cap=30))

    async def close(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The batch's closing job: no row of the run is left open. One that was cancelled is counted here."""
        run = UUID(args["batch"])
        async with ctx.transaction() as conn:
            if await close_batch(conn, run) is None:
                return Skip("closed_before")
            late = args["reason"] == "deadline"
            await conn.execute(SQL.run_sweep, run, "skipped" if late else "failed", "deadline" if late else "abandoned")
            _, metrics = await _totals(conn, run)
            await conn.execute(SQL.run_recount, run, metrics)
        return Done()

    async def _add(self, run: Run) -> None:
        """A job for each account, a page a transaction."""
        workspaces = workspaces_of(run.payload)
        while True:
            async with run.transaction() as conn:
                progress = await conn.fetchrow(SQL.batch_progress, run.id)
                cursor: dict[str, Any] = await self._open(conn, run) if progress is None else progress["cursor"]
                if progress is not None and progress["state"] != "open":
                    return
                slot = datetime.fromisoformat(cursor["slot"])
                found = await conn.fetch(
                    SQL.select_company_accounts, run.company, workspaces, cursor.get("after"), slot, CHUNK + 1
                )
                if rows := found[:CHUNK]:
                    await advance_batch(conn, run.id, {**cursor, "after": str(rows[-1]["id"])})
                    await add_accounts(run.ctx, conn, rows, run=run.id, batch=run.id, slot=slot, trigger=run.trigger)
                if len(found) <= CHUNK:
                    await seal_batch(conn, run.id)
                    return

    async def _open(self, conn: Connection, run: Run) -> dict[str, Any]:
        now: datetime = await conn.fetchval("select tidemill.now()")
        slot = run.fire_at or now.replace(microsecond=0)
        await self.engine.open_batch(
            conn, on_close=CLOSE, args={}, deadline=now + DEADLINE, batch=run.id, tenant=run.company
        )
        cursor = {"slot": slot.isoformat()}
        await advance_batch(conn, run.id, cursor)
        return cursor

    async def _is_closed(self, run: Run) -> bool:
        """Wait a while for the batch's end; whether it came."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + min(_WAIT_S, run.ctx.remaining() / 2), _FIRST_LOOK_S
        while await self.engine.db.fetchval(SQL.batch_state, run.id) != "closed":
            if loop.time() >= until:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK_S)
        return True


async def _totals(db: Database | Connection, run: UUID) -> tuple[dict[str, int], dict[str, Any]]:
    """Accounts of a run by how they ended, and the same with what each came to, for its row."""
    totals = await db.fetchrow(SQL.run_accounts, run, MOST_RESULTS)
    assert totals is not None  # noqa: S101 - an aggregate without GROUP BY always has a row
    counts = {key: totals[key] for key in ("completed", "partial", "failed", "skipped")}
    return counts, {"total_accounts": totals["total"], **counts, "results": totals["results"]}


def workspaces_of(payload: Mapping[str, Any], *, others: Collection[str] = ()) -> list[UUID] | None:
    """Which of the company's workspaces a payload means; None for all.

    Raises:
        InvalidInput: naming the field that cannot be taken: one that is neither ``workspaces`` nor of ``others``.
    """
    known = ("workspaces", *others)
    if unknown := sorted(set(payload) - set(known)):
        raise InvalidInput(unknown[0][:64], f"is not known; there is: {', '.join(known)}")
    if "workspaces" not in payload:
        return None
    try:
        return msgspec.convert(payload["workspaces"], list[UUID])
    except msgspec.ValidationError:
        raise InvalidInput("workspaces", "needs to be a list of ids of workspaces") from None


def _first_error(results: list[dict[str, Any]]) -> str:
    said = next((str(r.get("error") or r.get("reason")) for r in results if r.get("error") or r.get("reason")), "")
    return f"no account could be synced; the first: {said}" if said else "no account could be synced"
