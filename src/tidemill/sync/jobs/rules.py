"""What holds of every sync job: how often it may fail, and how long it rests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

LONGEST_REST = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Numbers of the operator's.

    Attributes:
        most_failures: runs failed in a row after which a job is disabled.
        rest: how long a job rests at least after its first failure; it doubles with each further one, up to a day.
    """

    most_failures: int
    rest: timedelta

    def rest_after(self, failures: int) -> timedelta:
        """How long a job rests that has failed so often in a row."""
        doublings = min(failures - 1, 40)
        return min(self.rest * 2**doublings, LONGEST_REST)
