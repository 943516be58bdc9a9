"""What a failure, or the absence of one, means for the step, the account and the run. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tidemill.connectors import ErrorKind, ProviderError

Status = Literal["completed", "partial", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a step ends.

    Attributes:
        status: the step's final status.
        reason: one word for the log; None when it simply completed.
        stops: whether the account's remaining steps are skipped, for the same reason.
    """

    status: Status
    reason: str | None = None
    stops: bool = False


COMPLETED = Verdict("completed")


def step_verdict(error: ProviderError | None, *, wrote: bool, missing: int = 0) -> Verdict:
    """The verdict on a step that ended with ``error``, or got to its end with some objects ``missing``.

    ``wrote`` says whether anything of the step is in the database.
    """
    if error is None:
        if not missing:
            return COMPLETED
        return Verdict("partial", "missing") if wrote else Verdict("failed", "provider")
    match error.kind:
        case ErrorKind.TOKEN_INVALID:
            return Verdict("failed", "token_invalid", stops=True)
        case ErrorKind.USER_ACTION:
            return Verdict("failed", "user_action", stops=True)
        case ErrorKind.PERMISSION:
            return Verdict("failed", "permission")
        case ErrorKind.RATE_LIMITED:
            return Verdict("partial" if wrote else "skipped", "rate_limited", stops=True)
        case _:
            return Verdict("partial" if wrote else "failed", "provider")


def time_budget_verdict(*, wrote: bool) -> Verdict:
    """The verdict on a step that ran out of the account's time."""
    return Verdict("partial" if wrote else "skipped", "time_budget", stops=True)


def account_status(steps: Sequence[str]) -> Status:
    """An account's status from its steps': worst of them, with ``skipped`` only where nothing else happened."""
    kinds = set(steps)
    if kinds <= {"completed"}:
        return "completed"
    if kinds <= {"skipped"}:
        return "skipped"
    if "partial" in kinds or "completed" in kinds:
        return "partial"
    return "failed"


def run_status(*, completed: int, partial: int, failed: int, skipped: int) -> Status:
    """A run's status from how many accounts came to what."""
    if not partial and not failed:
        return "skipped" if skipped and not completed else "completed"
    if not completed and not partial:
        return "failed"
    return "partial"
