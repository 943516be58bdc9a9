"""What a worker measures of itself, when asked to: sums in plain counters, which whoever wants them reads.

Nothing here locks or looks up by label text at each job: one event loop writes and reads, and a job costs a bisection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for statements."""
LONG_S = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
)
"""Bounds for jobs: from a pickup at once to an hour."""
COUNTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Histogram:
    """Observations by size.

    Attributes:
        bounds: upper bounds, inclusive, ascending; above the last there is one more bucket.
        counts: observations in each bucket alone, not added up.
        total: the sum of all observations.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Measures:
    """Of one worker, since it was made.

    Attributes:
        run: (kind, outcome) → seconds from an attempt's start in this process to its end.
        wait: queue → seconds from when a job might have started to its claim, by the database's clock.
        claim: seconds that a claim took, round trip and all.
        flush: endings that were written at once.
    """

    def __init__(self) -> None:
        self.run: dict[tuple[str, str], Histogram] = {}
        self.wait: dict[str, Histogram] = {}
        self.claim = Histogram(SHORT_S)
        self.flush = Histogram(COUNTS)

    def ran(self, kind: str, outcome: str, seconds: float) -> None:
        """An attempt ended."""
        found = self.run.get((kind, outcome))
        if found is None:
            found = self.run[kind, outcome] = Histogram(LONG_S)
        found.observe(seconds)

    def claimed(self, queue: str, waits_s: Iterable[float], seconds: float) -> None:
        """A claim answered, with so many jobs as there are waits."""
        self.claim.observe(seconds)
        found = self.wait.get(queue)
        if found is None:
            found = self.wait[queue] = Histogram(LONG_S)
        for wait_s in waits_s:
            found.observe(max(wait_s, 0.0))  # a job enqueued by a moved clock may lie ahead of the real one
