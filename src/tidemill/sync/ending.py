"""The end of steps: their last data, their final rows, and what their failure means for the account, all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tidemill.engine import Job, fence_held
from tidemill.errors import LeaseLost
from tidemill.postgres import Connection, Database
from tidemill.sync.observed import Observed, write_observed
from tidemill.sync.outcomes import Verdict
from tidemill.sync.runs import Step
from tidemill.sync.statements import SQL


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd:
    """How one step of one account ends.

    Attributes:
        job: on whose behalf.
        attempt: which try of the job this is, lost processes included.
        next_step: the one that begins with this one's end; None after the last, and when the verdict stops the account.
        observed: what was read last.
        consequences: what else this end writes; may be called again after a deadlock.
    """

    job: Job
    run: UUID
    account: UUID
    step: Step
    verdict: Verdict
    error: str | None
    metadata: dict[str, Any]
    attempt: int
    next_step: Step | None
    observed: Observed | None
    consequences: Callable[[Connection], Awaitable[None]] | None = None


async def end_steps(db: Database, ends: Sequence[StepEnd]) -> list[Exception | None]:
    """End steps of different accounts in one fenced transaction; LeaseLost for a job that is not ours any more."""

    async def work(conn: Connection) -> set[int]:
        held = await fence_held(conn, [end.job for end in ends])
        ours = [end for end in ends if end.job.id in held]
        await write_observed(conn, [end.observed for end in ours if end.observed is not None])
        for end in ours:
            if end.consequences is not None:
                await end.consequences(conn)
        if ours:
            await conn.execute(
                SQL.step_end,
                [end.run for end in ours],
                [end.account for end in ours],
                [end.step for end in ours],
                [end.verdict.status for end in ours],
                [end.verdict.reason for end in ours],
                [end.error for end in ours],
                [end.metadata for end in ours],
                [end.attempt for end in ours],
                [end.next_step for end in ours],
                [end.verdict.stops for end in ours],
            )
        return held

    held = await db.retrying(work)
    return [
        None
        if end.job.id in held
        else LeaseLost(f"lease lost: job {end.job.id} is no longer held by node {end.job.node}")
        for end in ends
    ]
