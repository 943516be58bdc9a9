"""The one door to syncs: the schedule, HTTP, the command line and manual runs all come in here."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from tidemill.connectors import Connector, HttpClient, SharedGate
from tidemill.engine import Backoff, Engine, KeyHeld, Kind
from tidemill.engine.recurrence import Cron
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection
from tidemill.settings import Settings
from tidemill.sync import account, retention, scheduled
from tidemill.sync.account import AccountSync
from tidemill.sync.coalesce import Coalescer
from tidemill.sync.ending import end_steps
from tidemill.sync.fan_out import account_args
from tidemill.sync.opening import open_accounts
from tidemill.sync.retention import LogRetention
from tidemill.sync.runs import RunState, Step, TokenExpired, Triggered
from tidemill.sync.scheduled import MOST_RESULTS, ScheduledSync
from tidemill.sync.statements import SQL
from tidemill.vault import Vault

QUEUE = "sync"
HARD_STOP_S = 30.0
"""What an account's job gets beyond its time budget to write what it has, before it is cancelled."""
LINGER_S = 0.02
"""How long an account's small question to Postgres waits for those of others, to be asked together with them."""
MOST_TOGETHER = 10
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 0.5


class Sync:
    """Starts and watches syncs. The work itself is done by workers that registered :meth:`kinds`."""

    def __init__(
        self,
        engine: Engine,
        *,
        connector: Connector,
        http: HttpClient,
        gate: SharedGate,
        vault: Vault,
        settings: Settings,
    ) -> None:
        self.engine = engine
        self._budget_s = settings.sync_account_budget_s
        self._account = AccountSync(
            connector=connector,
            http=http,
            gate=gate,
            vault=vault,
            app_id=settings.threads_app_id or "",
            budget_s=settings.sync_account_budget_s,
            open=Coalescer(partial(open_accounts, engine.db), linger_s=LINGER_S, most=MOST_TOGETHER),
            end=Coalescer(partial(end_steps, engine.db), linger_s=LINGER_S, most=MOST_TOGETHER),
        )
        self._scheduled = ScheduledSync(
            engine=engine,
            cron=Cron.parse(settings.sync_cron),
            lock_ttl=timedelta(seconds=settings.lease_ttl_s),
            group_size=settings.batch_size,
            group_delay=timedelta(milliseconds=settings.batch_delay_ms),
        )
        self._retention = LogRetention(settings.log_days)

    def kinds(self) -> list[Kind]:
        """The job kinds of this room, for the registry."""
        return [
            Kind(scheduled.TICK, self._scheduled.tick, max_attempts=5),
            Kind(scheduled.FAN_OUT, self._scheduled.fan_out, max_attempts=10, backoff=Backoff(base=0.5, cap=10)),
            Kind(scheduled.CLOSE, self._scheduled.close, max_attempts=100, backoff=Backoff(base=0.5, cap=30)),
            Kind(
                account.KIND,
                self._account,
                queue=QUEUE,
                max_attempts=3,
                backoff=Backoff(base=1, cap=30),
                timeout=self._budget_s + HARD_STOP_S,
                on_orphan=self._account.on_orphan,
            ),
            Kind(retention.KIND, self._retention, max_attempts=5),
        ]

    async def trigger_scheduled(self, *, trigger: str, request_key: str, own_slot: bool = False) -> Triggered:
        """Start the scheduled sync of the current slot, unless it runs or has run.

        ``own_slot`` gives the run a slot of its own (this second), for a run that somebody asks for by hand.
        """
        slot = await self.engine.db.fetchval("select date_trunc('second', tidemill.now())") if own_slot else None
        return await self._scheduled.open_run(trigger=trigger, request_key=request_key, slot=slot)

    async def trigger_manual(self, account_id: UUID, step: Step, *, user_id: UUID, request_key: str) -> Triggered:
        """Start one step of one account for a user who may do so; the caller has checked that.

        It takes the same lease as the scheduled run: while that has the account, the answer is ``already_running``.

        Raises:
            InvalidInput: no such account.
            TokenExpired: the account has no token that the provider would take.
        """
        row = await self.engine.db.fetchrow(SQL.manual_account, account_id)
        if row is None:
            raise InvalidInput("workspace_threads_account_id", "there is no such account")
        if not row["live"] or row["token_status"] == "invalid":  # noqa: S105
            raise TokenExpired("workspace_threads_account_id", "the account must be connected again")
        await self.engine.names.learn(self.engine.db, [account.KIND], [QUEUE])
        run = uuid4()

        async def work(conn: Connection) -> None:
            slot = await conn.fetchval("select date_trunc('second', tidemill.now())")
            await self.engine.enqueue(
                account.KIND,
                account_args(run, account_id, row["threads_user_id"], slot),
                conn=conn,
                key=str(account_id),
                tenant=row["workspace_id"],
                priority=10,
            )
            await conn.execute(
                SQL.log_accounts, run, slot, "manual", user_id, [account_id], [row["workspace_id"]], [None], [step]
            )

        try:
            await self.engine.db.retrying(work)
        except KeyHeld:
            return Triggered(run, True, "already_running")
        return Triggered(run)

    async def state(self, run_id: UUID) -> RunState | None:
        """The run as it stands; None for an unknown one."""
        row = await self.engine.db.fetchrow(SQL.run_state, run_id)
        if row is not None and row["completed_at"] is not None:
            return _closed(run_id, dict(row))
        manual = None if row is not None else await self.engine.db.fetchrow(SQL.manual_state, run_id)
        if row is None and manual is None:
            return None
        totals = await self.engine.db.fetchrow(SQL.run_accounts, run_id, MOST_RESULTS)
        assert totals is not None  # noqa: S101 - an aggregate without GROUP BY always has a row
        counts = {
            "total_accounts": totals["total"],
            "success_count": totals["completed"],
            "error_count": totals["partial"] + totals["failed"],
            "skipped_count": totals["skipped"],
            "results": totals["results"],
        }
        if row is not None:
            return RunState(run_id, row["status"], row["started_at"], None, **counts)
        assert manual is not None  # noqa: S101 - by the test above
        if not manual["final"]:
            return RunState(run_id, "running", manual["started_at"], None, **counts)
        return RunState(run_id, totals["results"][0]["status"], manual["started_at"], manual["completed_at"], **counts)

    async def wait(self, run_id: UUID, seconds: float) -> RunState | None:
        """The run's state once it is final, or after ``seconds`` at the latest; None for an unknown run."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + seconds, _FIRST_LOOK_S
        while True:
            # Looking whether it has ended is cheap; counting what it came to is not, so that is done once.
            ended = await self.engine.db.fetchval(SQL.run_ended, run_id)
            left = until - loop.time()
            if ended is None or ended or left <= 0:
                return await self.state(run_id)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LAST_LOOK_S)


def _closed(run_id: UUID, row: dict[str, Any]) -> RunState:
    metadata: dict[str, Any] = row["metadata"] or {}
    return RunState(
        run_id,
        row["status"],
        row["started_at"],
        row["completed_at"],
        metadata.get("total_accounts", 0),
        metadata.get("success_count", 0),
        metadata.get("error_count", 0),
        metadata.get("skipped_count", 0),
        metadata.get("results", []),
        row["skipped_reason"],
    )
