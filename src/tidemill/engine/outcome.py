"""How a job's attempt may end. Outcomes are returned; anything raised is a failure and is retried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done. ``result`` is kept in the history (JSON)."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Partial:
    """Part of the work is done and the rest is given up; ``reason`` says why."""

    reason: str
    result: Any = None


@dataclass(frozen=True, slots=True)
class Skip:
    """There was nothing to do, or it may not be done now; ``reason`` says why. Never counted as success."""

    reason: str
    result: Any = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """The job ends at once and is not retried."""

    reason: str
    result: Any = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The work failed and trying again now would not help; raise instead to be retried."""

    reason: str
    result: Any = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """Run again later without spending an attempt.

    Attributes:
        until: an instant of ``tidemill.now()``, or seconds from now.
    """

    until: datetime | float
    reason: str = "snoozed"


Outcome = Done | Partial | Skip | Cancel | Fail | Snooze
