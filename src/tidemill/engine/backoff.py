"""Waits between attempts."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full-range jitter.

    Attributes:
        base: seconds before the second attempt.
        factor: growth from one attempt to the next.
        cap: the longest wait, seconds.
        jitter: share of the wait that is random, 0 to 1; spreads jobs that failed together.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.5

    def after(self, attempt: int) -> float:
        """Seconds to wait after the given failed attempt, counted from 1."""
        wait = self.cap if attempt > 60 else min(self.cap, self.base * self.factor ** (attempt - 1))
        return wait * (1 - self.jitter * random.random())  # noqa: S311 - spreading load, not guarding a secret
