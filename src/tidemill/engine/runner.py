"""Runs one claimed job and says how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import cast

import structlog

from tidemill.engine.context import Context
from tidemill.engine.engine import Engine
from tidemill.engine.finish import Ending
from tidemill.engine.job import Job
from tidemill.engine.kind import Kind
from tidemill.engine.outcome import Cancel, Done, Fail, Outcome, Partial, Skip, Snooze
from tidemill.errors import DatabaseUnavailable, LeaseLost

UNKNOWN_KIND_S = 30.0
DATABASE_AWAY_S = 1.0
LONGEST_REASON = 2000

_log = structlog.get_logger("tidemill.engine")


async def run_job(engine: Engine, job: Job) -> Ending | None:
    """Run a handler under its timeout; None when the lease was lost and there is nothing to record.

    Cancellation passes through: the worker knows why it cancelled.
    """
    if job.kind not in engine.registry:
        # Seen while a newer version rolls out: its workers know the kind. Nothing is spent.
        _log.warning("unknown_kind", kind=job.kind, job=job.id)
        return Ending(job, "snooze", reason="unknown kind", delay=UNKNOWN_KIND_S)
    kind = engine.registry[job.kind]
    log = _log.bind(job=job.id, kind=job.kind, attempt=job.attempt)
    deadline = asyncio.get_running_loop().time() + kind.timeout
    timer = asyncio.timeout_at(deadline)
    try:
        async with timer:
            outcome = await _undisguised(kind.handler(Context(job, engine, deadline=deadline, log=log), job.args))
    except LeaseLost as e:
        log.warning("lease_lost", error=str(e))
        return None
    except DatabaseUnavailable as e:
        log.warning("database_away", error=str(e))
        return Ending(job, "snooze", reason="database away", delay=DATABASE_AWAY_S)
    except TimeoutError as e:
        reason = f"timed out after {kind.timeout:g} s" if timer.expired() else _text(e)
        return _failed(job, kind, reason, log)
    except Exception as e:
        log.exception("job_failed")
        return _failed(job, kind, _text(e), log)
    return _ending(job, outcome)


async def _undisguised(handler: Awaitable[Outcome | None]) -> Outcome | None:
    """A cancelled handler ends cancelled, whatever it ran into while it cleaned up."""
    try:
        return await handler
    except Exception as e:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from e
        raise


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


def _failed(job: Job, kind: Kind, reason: str, log: structlog.typing.FilteringBoundLogger) -> Ending:
    if job.attempt >= job.max_attempts:
        log.error("job_dead", reason=reason)
        return Ending(job, "dead", reason=reason)
    return Ending(job, "retry", reason=reason, delay=kind.backoff.after(job.attempt))


def _text(e: BaseException) -> str:
    return f"{type(e).__name__}: {e}"[:LONGEST_REASON]
