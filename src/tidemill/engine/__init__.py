"""Durable jobs in Postgres: enqueue, claim, run, finish, rescue. Knows nothing of syncs.

A job's state is the table its row is in. Whoever holds ``(id, token, node)`` in ``job_lease`` may write on its
behalf; everybody else's writes are refused by the fence. One heartbeat per process keeps all its leases; when it
stops, any other process takes them over.
"""

from __future__ import annotations

from tidemill.engine import locks
from tidemill.engine.backoff import Backoff
from tidemill.engine.batch import BatchSummary, advance_batch, close_batch, seal_batch
from tidemill.engine.budgets import Rate
from tidemill.engine.context import Context
from tidemill.engine.due import DueSource
from tidemill.engine.engine import Engine, KeyHeld
from tidemill.engine.fence import fence_held
from tidemill.engine.job import Job, NewJob, Orphan
from tidemill.engine.kind import Kind, Registry
from tidemill.engine.outcome import Cancel, Done, Fail, Outcome, Partial, Skip, Snooze
from tidemill.engine.recurrence import Cron, Plan, Recurrence
from tidemill.engine.schedules import Schedule, Schedules
from tidemill.engine.spend import Budgets, BudgetSpent, Standing
from tidemill.engine.worker import Worker

__all__ = [
    "Backoff",
    "BatchSummary",
    "BudgetSpent",
    "Budgets",
    "Cancel",
    "Context",
    "Cron",
    "Done",
    "DueSource",
    "Engine",
    "Fail",
    "Job",
    "KeyHeld",
    "Kind",
    "NewJob",
    "Orphan",
    "Outcome",
    "Partial",
    "Plan",
    "Rate",
    "Recurrence",
    "Registry",
    "Schedule",
    "Schedules",
    "Skip",
    "Snooze",
    "Standing",
    "Worker",
    "advance_batch",
    "close_batch",
    "fence_held",
    "locks",
    "seal_batch",
]
