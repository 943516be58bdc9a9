"""The engine's job of a run: begins it, has its type do the work, ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from tidemill.connectors import Redactor
from tidemill.engine import BudgetSpent, Cancel, Context, Done, Fail, Orphan, Outcome, Partial, Skip, Snooze
from tidemill.engine.cancel import cancel_batches
from tidemill.errors import DatabaseUnavailable, LeaseLost, TidemillError
from tidemill.postgres import Connection
from tidemill.sync.jobs.endings import LONGEST_ERROR, RunEnd, end_runs
from tidemill.sync.jobs.opening import Began, Opening
from tidemill.sync.jobs.rules import Rules
from tidemill.sync.jobs.run import Run, RunGone
from tidemill.sync.jobs.statements import SQL

MOST_CONTINUATIONS = 100
"""Attempts of one run that may end in an error, after they had committed something, and spend none."""
BY = "the end of its run"


class AttemptFailed(TidemillError):
    """What a job type raised, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncJobRuns:
    """Runs sync jobs. One object serves all companies."""

    opening: Opening
    rules: Rules

    async def __call__(self, ctx: Context, args: dict[str, Any]) -> Outcome:
        """The job's handler. A repeated attempt goes on where the last commit of an earlier one was."""
        run_id = UUID(args["run"])
        async with ctx.transaction() as conn:
            opened = await self.opening(ctx, conn, run_id)
            if isinstance(opened, RunEnd):
                await self._end_from_outside(conn, [opened])
        if isinstance(opened, RunEnd):
            return _outcome(opened)
        if not isinstance(opened, Began):
            return opened
        run, worked = opened.run, False
        try:
            outcome = await opened.type.run(run)
            worked = True
            if isinstance(outcome, Snooze):
                return outcome
            end = _end(run, outcome)
            async with ctx.transaction() as conn:
                ended = await end_runs(conn, [end], self.rules)
        except RunGone:
            return Skip("gone")
        except (LeaseLost, DatabaseUnavailable, BudgetSpent):
            raise  # the engine knows what to make of them
        except Exception as e:  # noqa: BLE001 - whatever a job type raises
            return await self._failed(run, e, goes_on=run.progressed and not worked)
        return _outcome(end) if ended else Skip("gone")

    async def on_orphan(self, conn: Connection, orphans: Sequence[Orphan]) -> None:
        """End the runs of jobs that ended without their handler, in the transaction that ended them."""
        await self._end_from_outside(conn, [_orphaned(UUID(orphan.job.args["run"]), orphan) for orphan in orphans])

    async def _end_from_outside(self, conn: Connection, ends: Sequence[RunEnd]) -> None:
        """End runs whose handlers have no say in it. A run's batch, which carries its id, stops with it."""
        ended = await end_runs(conn, ends, self.rules)
        await cancel_batches(conn, ended, by=BY)

    async def _failed(self, run: Run, e: Exception, *, goes_on: bool) -> Outcome:
        """An attempt that raised: goes on at once if it got anywhere, else the engine counts it."""
        text = Redactor(run.read.secrets.values()).text(f"{type(e).__name__}: {e}", LONGEST_ERROR)
        async with run.ctx.transaction() as conn:
            if not await conn.fetchval(SQL.run_note, run.id, text):
                return Skip("gone")
        if goes_on and run.attempt - run.ctx.job.attempt < MOST_CONTINUATIONS:
            run.ctx.log.warning("sync_job_goes_on", run=str(run.id), attempt=run.attempt, error=text)
            return Snooze(0.0, text)
        raise AttemptFailed(text).with_traceback(e.__traceback__) from None


def _end(run: Run, outcome: object) -> RunEnd:
    """The run's end by its job type's word.

    Raises:
        TypeError: it said nothing of the kind.
    """
    actions = run.actions or None
    match outcome:
        case None:
            return RunEnd(run=run.id, status="completed", metrics={}, actions=actions)
        case Done(result):
            return RunEnd(run=run.id, status="completed", metrics=_metrics(result), actions=actions)
        case Partial(reason, result):
            return RunEnd(run=run.id, status="partial", reason=reason, metrics=_metrics(result), actions=actions)
        case Skip(reason, result):
            return RunEnd(run=run.id, status="skipped", reason=reason, metrics=_metrics(result), actions=actions)
        case Cancel(reason, result):
            return RunEnd(run=run.id, status=None, reason=reason, metrics=_metrics(result), actions=actions)
        case Fail(reason, result):
            metrics = _metrics(result)
            said = metrics.pop("error", None)
            text = Redactor(run.read.secrets.values()).text(str(reason if said is None else said), LONGEST_ERROR)
            return RunEnd(run=run.id, status="failed", reason=reason, error=text, metrics=metrics, actions=actions)
        case _:
            raise TypeError(f"a job type answers with an outcome, not with {type(outcome).__name__}")


def _metrics(result: object) -> dict[str, Any]:
    if result is None:
        return {}
    return dict(cast("Mapping[str, Any]", result)) if isinstance(result, Mapping) else {"result": result}


def _orphaned(run: UUID, orphan: Orphan) -> RunEnd:
    match orphan.outcome:
        case "cancelled":
            return RunEnd(run=run, status=None, reason="cancelled")
        case "skipped":
            return RunEnd(run=run, status="skipped", reason=orphan.reason)
        case _ if orphan.reason == "poison":
            why = "the processes that ran it died again and again"
            return RunEnd(run=run, status="failed", reason="poison", error=why)
        case _:
            return RunEnd(run=run, status="failed", reason="error", error=orphan.reason.removeprefix("AttemptFailed: "))


def _outcome(end: RunEnd) -> Outcome:
    """What the engine's history says; what the run told stands in its row."""
    match end.status:
        case "completed":
            return Done()
        case "partial":
            return Partial(end.reason or "partial")
        case "failed":
            return Fail(end.reason or "failed")
        case _:
            return Skip(end.reason or "skipped")
