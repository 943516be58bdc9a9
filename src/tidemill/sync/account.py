"""An account's job: posts → metrics → insights, under one lease, each step closed honestly whatever happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tidemill.connectors import Connector, ErrorKind, HttpClient, ProviderError, Scopes, SharedGate, TimeBudgetSpent
from tidemill.engine import Context, Done, Fail, Orphan, Outcome, Partial, Skip, Standing
from tidemill.postgres import Connection, Record
from tidemill.sync.coalesce import Coalescer
from tidemill.sync.ending import StepEnd
from tidemill.sync.observed import Observed, write_observed
from tidemill.sync.opening import Opening
from tidemill.sync.outcomes import Verdict, account_status, step_verdict, time_budget_verdict
from tidemill.sync.runs import STEPS, Step
from tidemill.sync.statements import SQL
from tidemill.sync.steps import READERS
from tidemill.sync.work import Progress, Report, Work
from tidemill.vault import Aad, Secret, Vault, VaultError

KIND = "sync_account"
USER_ACTION_PAUSE = timedelta(hours=6)
"""How long an account rests that its owner must unlock at the provider first: the slow retry."""

TOKEN_TROUBLES = {"token_invalid": "invalid", "user_action": "user_action"}
"""The status of a token, by the reason that it could not be used for."""

_FINAL = frozenset({"completed", "partial", "failed", "skipped"})


def token_aad(workspace: UUID, token: UUID) -> Aad:
    """What an access token's seal is bound to."""
    return Aad(str(workspace), "workspace_threads_tokens", str(token), "access_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSync:
    """Runs an account's steps. One object serves all accounts of a process."""

    connector: Connector
    http: HttpClient
    gate: SharedGate
    vault: Vault
    app_id: str
    budget_s: float
    open: Coalescer[Opening, Record]
    end: Coalescer[StepEnd, None]

    async def __call__(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The job's handler. A repeated attempt skips what an earlier one finished."""
        run, account = UUID(args["run"]), UUID(args["account"])
        scopes = Scopes.of("threads", self.app_id, args["user"])
        deadline = time.monotonic() + self.budget_s
        opened = await self.open(Opening(ctx.job, run, account, scopes))
        if opened["workspace_id"] is None:
            return Skip("account_gone")
        steps: dict[Step, list[Any]] = {s: opened["steps"][s] for s in STEPS if s in (opened["steps"] or {})}
        ends: dict[Step, str] = {step: status for step, (status, _) in steps.items() if status in _FINAL}
        todo: list[Step] = [step for step in steps if step not in ends]
        standings: dict[str, list[Any]] = opened["standings"] or {}
        known = {name: Standing(*said) for name, said in standings.items()}
        self.gate.learn(scopes, known)
        if todo and (unfit := _unfit(opened, [s.reason for s in known.values() if s.blocked_s is not None])):
            await _end_rows(ctx, run, account, "skipped", unfit)
            return _outcome([*ends.values(), *("skipped" for _ in todo)], unfit)
        reason: str | None = None
        if todo:
            try:
                token = Secret(self.vault.open(opened["sealed"], token_aad(opened["workspace_id"], opened["token_id"])))
            except VaultError as e:
                ctx.log.error("token_unreadable", account=str(account), error=str(e))  # noqa: TRY400 - it says all
                await _end_rows(ctx, run, account, "failed", "token_unreadable", str(e))
                return Fail("token_unreadable")
            work = Work(
                ctx=ctx,
                run=run,
                slot=datetime.fromisoformat(args["slot"]),
                account=account,
                workspace=opened["workspace_id"],
                watermark=opened["posts_watermark"],
                connector=self.connector,
                http=self.http,
                scopes=scopes,
                token=token,
                token_key=(opened["token_id"], opened["token_version"]),
                user_must_act=opened["token_status"] == "user_action",  # noqa: S105
                deadline=deadline,
            )
            while todo:
                step, rest = todo[0], todo[1:]
                verdict = await self._run(work, step, rest, steps[step][1], opened["disabled_steps"])
                ends[step] = verdict.status
                reason = reason or verdict.reason
                if verdict.stops:
                    ends |= dict.fromkeys(rest, "skipped")
                    break
                todo = rest
        return _outcome(list(ends.values()), reason)

    async def on_orphan(self, conn: Connection, orphans: Sequence[Orphan]) -> None:
        """Close the rows of jobs that ended without their handler, in the transaction that ended them."""
        await conn.execute(
            SQL.rows_end,
            [UUID(o.job.args["run"]) for o in orphans],
            [UUID(o.job.args["account"]) for o in orphans],
            ["failed" if o.outcome == "dead" else "skipped" for o in orphans],
            ["abandoned" if o.outcome == "dead" else o.reason for o in orphans],
            [o.reason if o.outcome == "dead" else None for o in orphans],
        )

    async def _run(
        self, work: Work, step: Step, rest: list[Step], earlier: dict[str, Any] | None, disabled: Sequence[str]
    ) -> Verdict:
        """Run one step to its final row. What was read is committed batch by batch, the last with the row."""
        reader = READERS[step]
        report = reader.report(earlier)
        if step in disabled:
            verdict = Verdict("skipped", "permission")
            await self._end(work, step, rest, report, verdict, None, None)
            return verdict
        pending: Observed | None = None
        kept = progress = report.progress()
        error: ProviderError | None = None
        renewed = False
        while True:
            try:
                async for observed in reader.read(work, report):
                    if pending is not None:
                        await _commit(work, step, progress, pending)
                        kept = progress
                    pending, progress = observed, report.progress()
                verdict = step_verdict(None, wrote=report.wrote, missing=report.missing)
            except TimeBudgetSpent:
                verdict = time_budget_verdict(wrote=report.wrote)
            except ProviderError as e:
                if e.kind is ErrorKind.TOKEN_INVALID and not renewed and await self._renewed(work):
                    renewed = True
                    # What is pending may be half an observation, and a slot takes only one: it is read again, whole.
                    pending, progress, report = None, kept, reader.report(kept.metadata)
                    continue
                error = e
                verdict = step_verdict(e, wrote=report.wrote)
            break
        await self._end(work, step, rest, report, verdict, error or report.miss, pending)
        return verdict

    async def _end(
        self,
        work: Work,
        step: Step,
        rest: list[Step],
        report: Report,
        verdict: Verdict,
        error: ProviderError | None,
        observed: Observed | None,
    ) -> None:
        """The step's last data, what its failure means for the account, and its final row: all or nothing."""
        attempt = work.ctx.job.attempt + work.ctx.job.crashes
        metadata: dict[str, Any] = {
            **report.counts,
            "api_calls": work.tally.calls,
            "retry_count": work.tally.retries + attempt - 1,
        }
        if step == "sync_metrics":
            metadata["metrics_missing"] = report.missing
        if error is not None and error.response is not None:
            metadata["api_response"] = error.response
        work.tally.calls = work.tally.retries = 0
        told = False

        async def consequences(conn: Connection) -> None:
            nonlocal told
            if verdict.reason in TOKEN_TROUBLES:
                told = await mark_token(conn, work.account, work.token_key, verdict, error)
            elif verdict.reason == "permission" and verdict.status == "failed":
                await conn.execute(SQL.disable_step, work.account, step)
            elif work.user_must_act and verdict.status == "completed" and metadata["api_calls"]:
                await conn.execute(SQL.token_works, work.account)

        await self.end(
            StepEnd(
                job=work.ctx.job,
                run=work.run,
                account=work.account,
                step=step,
                verdict=verdict,
                error=str(error) if error else None,
                metadata=metadata,
                attempt=attempt,
                next_step=rest[0] if rest and not verdict.stops else None,
                observed=observed,
                consequences=consequences,
            )
        )
        await await_user(self.gate, work.scopes, verdict)
        if told:
            work.ctx.log.warning("needs_reauth", account=str(work.account), reason=verdict.reason)

    async def _renewed(self, work: Work) -> bool:
        """Whether the token was replaced while we used the old one; then the work goes on with the new one."""
        row = await work.ctx.db.fetchrow(SQL.token, work.account)
        if row is None or (row["id"], row["version"]) == work.token_key:
            return False
        work.token = Secret(self.vault.open(row["sealed"], token_aad(work.workspace, row["id"])))
        work.token_key = (row["id"], row["version"])
        return True


async def mark_token(
    conn: Connection, account: UUID, key: tuple[UUID, int], verdict: Verdict, error: ProviderError | None
) -> bool:
    """Mark the account of a token that the provider refused, or whose user has to act, in the caller's transaction.

    Nothing is marked once another token has taken the place of that one. Answers whether to tell the tenant now.
    """
    status = TOKEN_TROUBLES[verdict.reason or ""]
    return await conn.fetchrow(SQL.token_trouble, account, status, error.message if error else None, *key) is not None


async def await_user(gate: SharedGate, scopes: Scopes, verdict: Verdict) -> None:
    """Let an account rest whose user has to act at the provider first."""
    if verdict.reason == "user_action" and scopes.account:
        await gate.blocked(scopes.account, USER_ACTION_PAUSE, verdict.reason)


async def _commit(work: Work, step: Step, progress: Progress, observed: Observed) -> None:
    async with work.ctx.transaction() as conn:
        await write_observed(conn, [observed])
        await conn.execute(SQL.step_progress, work.run, work.account, step, progress.metadata, progress.error)


async def _end_rows(ctx: Context, run: UUID, account: UUID, status: str, reason: str, error: str | None = None) -> None:
    async with ctx.transaction() as conn:
        await conn.execute(SQL.rows_end, [run], [account], [status], [reason], [error])


def _unfit(opened: Record, paused: Sequence[str | None]) -> str | None:
    """Why an account may not be called at all, by what changed since it was selected; ``paused``: reasons of pauses."""
    if not opened["wanted"]:
        return "inactive"
    if not opened["live"]:
        return "token_expired"
    if opened["token_status"] == "invalid":  # noqa: S105
        return "token_invalid"
    if paused:
        return "user_action" if "user_action" in paused else "rate_limited"
    return None


def _outcome(steps: Sequence[str], reason: str | None) -> Outcome:
    match account_status(steps):
        case "completed":
            return Done()
        case "partial":
            return Partial(reason or "partial")
        case "skipped":
            return Skip(reason or "skipped")
        case "failed":
            return Fail(reason or "failed")
