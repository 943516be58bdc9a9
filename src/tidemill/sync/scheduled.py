"""A scheduled run: opened under its lock, fanned out as a batch of account jobs, closed with honest counts.

open_run ──▶ fan_out (resumable, 500 accounts a transaction) ──▶ sync_account × n ──▶ close
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from tidemill.engine import (
    Context,
    Done,
    Engine,
    Outcome,
    Skip,
    Snooze,
    advance_batch,
    close_batch,
    locks,
    seal_batch,
)
from tidemill.engine.recurrence import Cron
from tidemill.postgres import Connection, Record
from tidemill.sync.fan_out import CHUNK, add_accounts
from tidemill.sync.outcomes import run_status
from tidemill.sync.runs import Triggered
from tidemill.sync.statements import SQL

JOB_TYPE = "scheduled_sync"
TICK, FAN_OUT, CLOSE = "scheduled_sync", "scheduled_sync.fan_out", "scheduled_sync.close"
MOST_RESULTS = 100
"""Accounts listed in ``system_job_logs.metadata.results``, the worst first; the rest by query of ``sync_logs``."""
GROUP_POLL_S = 0.2
OVERDUE_POLL_S = 0.2
ENDING_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledSync:
    """Opens, fans out and closes runs.

    Attributes:
        cron: the schedule whose fire times are the slots.
        lock_ttl: how long the run's lock outlives the last process that worked on it.
        group_size: seed 003's ``BATCH_SIZE``: accounts side by side in the whole fleet, 0 = no groups.
        group_delay: seed 003's ``BATCH_DELAY_MS``: pause between groups.
    """

    engine: Engine
    cron: Cron
    lock_ttl: timedelta
    group_size: int
    group_delay: timedelta

    async def open_run(self, *, trigger: str, request_key: str, slot: datetime | None = None) -> Triggered:
        """Open a run, or say why not; in one transaction, so that a run is either wholly there or not at all.

        Args:
            trigger: what asked for it: ``schedule``, ``http``, ``cli``, …
            request_key: the same key gets the same answer, however often it asks.
            slot: a slot of its own for a manual or late run; None takes the schedule's.
        """
        await self.engine.names.learn(self.engine.db, (FAN_OUT, CLOSE), ("default",))

        async def work(conn: Connection) -> Triggered:
            return await self._open(conn, trigger, request_key, slot)

        return await self.engine.db.retrying(work)

    async def _is_ending(self, slot: datetime) -> bool:
        """Whether, within ``slot``, the run before it still waits for its closing job."""
        row = await self.engine.db.fetchrow(SQL.run_ending, JOB_TYPE)
        return row is not None and row["ending"] and self.cron.slot(row["now"]) == slot

    async def _open(self, conn: Connection, trigger: str, request_key: str, slot: datetime | None) -> Triggered:
        now: datetime = await conn.fetchval("select tidemill.now()")
        slot = slot or self.cron.slot(now)
        batch, run = uuid4(), uuid4()
        # The lock's row serialises everybody who wants to open a run: what is read after it is settled.
        lock = await locks.acquire(conn, JOB_TYPE, owner=str(batch), ttl=self.lock_ttl, batch=batch)
        if before := await conn.fetchrow(SQL.run_of_request, JOB_TYPE, request_key):
            if lock.acquired:
                await locks.release(conn, JOB_TYPE, owner=str(batch))
            return Triggered(before["id"], before["status"] == "skipped", before["skipped_reason"])
        reason = None
        if not lock.acquired:
            reason = "already_running"
        elif await conn.fetchval(SQL.run_of_slot, JOB_TYPE, slot):
            reason = "already_ran"
            await locks.release(conn, JOB_TYPE, owner=str(batch))
        if reason:
            held = None if lock.acquired else lock.locked_until
            metadata = {"skipped": True, "reason": reason, "locked_until": held and held.isoformat()}
            await conn.execute(
                SQL.run_insert, run, JOB_TYPE, "skipped", trigger, slot, None, request_key, reason, metadata
            )
            return Triggered(run, True, reason, held)
        await self.engine.open_batch(
            conn, on_close=CLOSE, args={"run": str(run)}, deadline=self.cron.next(now), batch=batch
        )
        await conn.execute(SQL.run_insert, run, JOB_TYPE, "running", trigger, slot, batch, request_key, None, {})
        args = {"run": str(run), "batch": str(batch), "slot": slot.isoformat(), "trigger": trigger}
        await self.engine.enqueue(FAN_OUT, args, conn=conn)
        return Triggered(run)

    async def tick(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The built-in schedule's job: opens the run of its fire time."""
        fire = datetime.fromisoformat(args["fire_at"]) if "fire_at" in args else None
        slot = fire and self.cron.slot(fire)
        if slot and await self._is_ending(slot):
            # A run's deadline is the next one's fire time: without this wait an overrun would cost two slots.
            return Snooze(ENDING_POLL_S, "the run before is being closed")
        triggered = await self.open_run(trigger="schedule", request_key=f"job:{ctx.job.id}", slot=slot)
        if triggered.skipped:
            return Skip(triggered.reason or "skipped")
        return Done({"run_id": str(triggered.run_id)})

    async def fan_out(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """Select accounts page by page and enqueue a job for each that is fit; goes on where it was interrupted."""
        run, batch, slot = UUID(args["run"]), UUID(args["batch"]), datetime.fromisoformat(args["slot"])
        page = self.group_size or CHUNK
        while True:
            async with ctx.transaction() as conn:
                progress = await conn.fetchrow(SQL.batch_progress, batch)
                if progress is None or progress["state"] != "open":
                    return Skip("batch_closed")
                cursor: dict[str, Any] = progress["cursor"] or {}
                if self.group_size and (wait := self._between_groups(progress, cursor)):
                    await advance_batch(conn, batch, {**cursor, "rested": wait.reason == "pause between groups"})
                    return wait
                after = UUID(cursor["after"]) if "after" in cursor else None
                if after is None and await conn.fetchval(SQL.run_overdue, batch):
                    return Snooze(OVERDUE_POLL_S, "an older run is being ended")
                found = await conn.fetch(SQL.select_accounts, after, slot, page + 1)
                if rows := found[:page]:
                    # After a group in which nobody could be synced there is nothing to rest from.
                    idle = all(row["unfit"] for row in rows)
                    await advance_batch(conn, batch, {"after": str(rows[-1]["id"]), "rested": idle})
                    await add_accounts(ctx, conn, rows, run=run, batch=batch, slot=slot, trigger=args["trigger"])
                if len(found) <= page:  # the one more says whether a page follows, so none rests after the last
                    await seal_batch(conn, batch)
                    return Done()

    def _between_groups(self, progress: Record, cursor: dict[str, Any]) -> Snooze | None:
        """Seed 003's pace: a group starts when the one before is through and the pause after it is over."""
        if progress["finished"] < progress["total"]:
            return Snooze(GROUP_POLL_S, "group under way")
        if progress["total"] and not cursor.get("rested"):
            return Snooze(self.group_delay.total_seconds(), "pause between groups")
        return None

    async def close(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The batch's closing job: counts, closes the log row, frees the lock; once, whatever happened before."""
        run = UUID(args["run"])
        async with ctx.transaction() as conn:
            if await close_batch(conn, UUID(args["batch"])) is None:
                return Skip("closed_before")
            late = args["reason"] == "deadline"
            await conn.execute(SQL.run_sweep, run, "skipped" if late else "failed", "deadline" if late else "abandoned")
            totals = await conn.fetchrow(SQL.run_accounts, run, MOST_RESULTS)
            assert totals is not None  # noqa: S101 - an aggregate without GROUP BY always has a row
            counts = {key: totals[key] for key in ("completed", "partial", "failed", "skipped")}
            status = run_status(**counts)
            metadata = {
                "total_accounts": totals["total"],
                "success_count": counts["completed"],
                "error_count": counts["partial"] + counts["failed"],
                "skipped_count": counts["skipped"],
                "results": totals["results"],
            }
            error = None
            if late:
                error = "the next slot began before every account was through"
            await conn.fetchrow(SQL.run_close, run, status, metadata, error)
        ctx.log.info("run_closed", run=str(run), status=status, **counts)
        return Done({"status": status})
