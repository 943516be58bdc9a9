"""Runs one claimed job and says how it ended."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, cast

import structlog

from tidemill.engine import tracing
from tidemill.engine.arguments import RefusedArguments
from tidemill.engine.context import Context
from tidemill.engine.deadlines import Deadlines
from tidemill.engine.engine import Engine
from tidemill.engine.finish import Ending
from tidemill.engine.job import Job
from tidemill.engine.kind import Kind
from tidemill.engine.outcome import Cancel, Done, Fail, Outcome, Partial, Skip, Snooze
from tidemill.engine.spend import BudgetSpent
from tidemill.errors import DatabaseUnavailable, LeaseLost

UNKNOWN_KIND_S = 30.0
DATABASE_AWAY_S = 1.0
LONGEST_REASON = 2000

_log = structlog.get_logger("tidemill.engine")


async def run_job(engine: Engine, job: Job, deadlines: Deadlines, queue: str) -> Ending | None:
    """Run a handler under its timeout; None when the lease was lost and there is nothing to record.

    Cancellation passes through: the worker knows why it cancelled. A handler that was cancelled ends cancelled,
    whatever it ran into while it cleaned up.
    """
    if job.kind not in engine.registry:
        # Seen while a newer version rolls out: its workers know the kind. Nothing is spent.
        _log.warning("unknown_kind", kind=job.kind, job=job.id)
        return Ending(job, "snooze", reason="unknown kind", delay=UNKNOWN_KIND_S)
    with tracing.running(job, queue, tenant=engine.trace_tenants) as attempt:
        ending = await _run(engine, job, deadlines, attempt)
        attempt.ended(ending)
    return ending


async def _run(engine: Engine, job: Job, deadlines: Deadlines, attempt: tracing.Attempt) -> Ending | None:
    kind = engine.registry[job.kind]
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    ctx = Context(job, engine, deadline=deadlines.begin(task, kind.timeout))
    outcome: Outcome | None = None
    error: BaseException | None = None
    try:
        outcome = await kind.handler(ctx, job.args)
    except (Exception, asyncio.CancelledError) as e:  # noqa: BLE001 - recorded as the attempt's end
        error = e
    late = deadlines.end(task, kind.timeout)
    ctx.end()
    if error is None:
        return _ending(job, outcome)
    if late and task.uncancel() == 0:
        reason = f"timed out after {kind.timeout:g} s"
        attempt.raised(TimeoutError(reason).with_traceback(error.__traceback__))
        return _failed(ctx, kind, reason)
    if isinstance(error, asyncio.CancelledError) or task.cancelling():
        raise asyncio.CancelledError from error
    if isinstance(error, BudgetSpent):
        # No failure, so none in the trace: the job has come too early.
        ctx.log.info("budget_spent", scope=error.scope, reason=error.reason)
        return Ending(job, "snooze", reason=_text(error), delay=error.retry_after.total_seconds())
    attempt.raised(error)
    match error:
        case LeaseLost():
            ctx.log.warning("lease_lost", error=str(error))
            return None
        case DatabaseUnavailable():
            ctx.log.warning("database_away", error=str(error))
            return Ending(job, "snooze", reason="database away", delay=DATABASE_AWAY_S)
        case RefusedArguments() if kind.exposed is not None:
            # They are what some tenant made up: another attempt would read the same.
            ctx.log.warning("job_dead", reason=_text(error))
            return Ending(job, "dead", reason=_text(error))
        case TimeoutError():
            return _failed(ctx, kind, _text(error))
        case _:
            ctx.log.error("job_failed", exc_info=error)
            return _failed(ctx, kind, _text(error))


def _ending(job: Job, outcome: Outcome | None) -> Ending:
    match outcome:
        case None:
            return Ending(job, "done")
        case Done(result):
            return Ending(job, "done", result=result)
        case Partial(reason, result):
            return Ending(job, "partial", reason=reason, result=result)
        case Skip(reason, result):
            return Ending(job, "skipped", reason=reason, result=result)
        case Cancel(reason, result):
            return Ending(job, "cancelled", reason=reason, result=result)
        case Fail(reason, result):
            return Ending(job, "failed", reason=reason, result=result)
        case Snooze(until, reason) if isinstance(until, datetime):
            return Ending(job, "snooze", reason=reason, at=until)
        case Snooze(until, reason):
            return Ending(job, "snooze", reason=reason, delay=cast(float, until))


def _failed(ctx: Context, kind: Kind, reason: str) -> Ending:
    job = ctx.job
    if job.attempt >= job.max_attempts:
        ctx.log.error("job_dead", reason=reason)
        return Ending(job, "dead", reason=reason)
    return Ending(job, "retry", reason=reason, delay=kind.backoff.after(job.attempt))


def _text(e: BaseException) -> str:
    """What Postgres can store of an error: no NUL, no half of a surrogate pair."""
    text = f"{type(e).__name__}: {e}"[:LONGEST_REASON].replace("\0", "\ufffd")
    return text.encode("utf-8", "replace").decode("utf-8")
