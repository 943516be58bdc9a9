"""Accounts of a run: a job for each that is fit, a log row a step for all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from tidemill.engine import Context, NewJob
from tidemill.postgres import Connection, Record
from tidemill.sync import account
from tidemill.sync.runs import STEPS
from tidemill.sync.statements import SQL

CHUNK = 500
"""Accounts that one transaction adds."""


async def add_accounts(
    ctx: Context,
    conn: Connection,
    rows: Sequence[Record],
    *,
    run: UUID,
    batch: UUID,
    slot: datetime,
    trigger: str,
) -> None:
    """Add one page of selected accounts to a run. One whose lease is held elsewhere is skipped."""
    fit = [row for row in rows if row["unfit"] is None]
    jobs = [
        NewJob(
            kind=account.KIND,
            args=account_args(run, row["id"], row["threads_user_id"], slot),
            key=str(row["id"]),
            tenant=row["workspace_id"],
            batch=batch,
        )
        for row in fit
    ]
    ids = await ctx.engine.enqueue_many(jobs, conn=conn)
    held = {row["id"] for row, job_id in zip(fit, ids, strict=True) if job_id is None}
    await conn.execute(
        SQL.log_accounts,
        run,
        slot,
        trigger,
        None,
        [row["id"] for row in rows],
        [row["workspace_id"] for row in rows],
        [row["unfit"] or ("already_running" if row["id"] in held else None) for row in rows],
        list(STEPS),
    )
    expired = [row["id"] for row in rows if row["unfit"] == "token_expired"]
    if expired:
        for told in await conn.fetch(SQL.mark_expired, expired):
            ctx.log.warning("needs_reauth", account=str(told["id"]), reason="token_expired")


def account_args(run: UUID, account_id: UUID, user: str, slot: datetime) -> dict[str, Any]:
    """What an account's job is told."""
    return {"run": str(run), "account": str(account_id), "user": user, "slot": slot.isoformat()}
