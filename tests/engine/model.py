"""The life of jobs as the documentation tells it, in plain Python: the state machine holds the database against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from tidemill.engine import Job

TERMINAL = frozenset({"done", "partial", "skipped", "cancelled", "failed", "dead"})
POISON_LIMIT = 2
"""Deaths of the holder after which a job is given up, in the state machine: few, so that it gets there."""


@dataclass(slots=True)
class Life:
    """One job. ``state`` is the table it is in, or ``ended``."""

    id: int
    kind: str
    queue: str
    key: str | None
    tenant: UUID | None
    batch: UUID | None
    max_attempts: int
    closes: UUID | None = None
    state: str = "ready"
    attempt: int = 0
    crashes: int = 0
    due_s: float = 0.0
    """For delayed ones, by the virtual clock."""
    lease: Job | None = None
    history: list[tuple[int, int, str]] = field(default_factory=list)
    """(attempt, crashes, outcome) of each attempt that ended."""

    @property
    def lives(self) -> bool:
        return self.state in ("ready", "delayed", "lease")


@dataclass(slots=True)
class Group:
    """One batch."""

    id: UUID
    deadline_s: float | None
    state: str = "open"
    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)


class Model:
    """All jobs and batches, and what each step makes of them."""

    def __init__(self) -> None:
        self.jobs: dict[int, Life] = {}
        self.batches: dict[UUID, Group] = {}
        self.alive: set[int] = set()
        self.paused: set[str] = set()
        """Queues as ``queue:name``, kinds as ``kind:name``."""
        self.asked: set[int] = set()
        self.now_s = 0.0

    # Asking ----------------------------------------------------------------------------------------------------------

    def of(self, *states: str) -> list[Life]:
        """The jobs in these states, by their ids."""
        return [job for _, job in sorted(self.jobs.items()) if job.state in states]

    def holder_of(self, kind: str, key: str | None) -> Life | None:
        """The live job that holds a key."""
        return next((j for j in self.jobs.values() if key and j.lives and (j.kind, j.key) == (kind, key)), None)

    def claimable(self, queue: str) -> list[Life]:
        """What a claim of a live node may take."""
        if f"queue:{queue}" in self.paused:
            return []
        return [j for j in self.of("ready") if j.queue == queue and f"kind:{j.kind}" not in self.paused]

    def orphans(self) -> list[Life]:
        """Leased jobs of dead nodes."""
        return [j for j in self.of("lease") if j.lease and j.lease.node not in self.alive]

    # Steps -----------------------------------------------------------------------------------------------------------

    def add(self, job: Life, *, due_s: float | None = None) -> None:
        self.jobs[job.id] = job
        if due_s is not None:
            job.state, job.due_s = "delayed", due_s
        if job.batch is not None:
            self.batches[job.batch].total += 1

    def claim(self, jobs: Iterable[Job]) -> None:
        for claimed in jobs:
            job = self.jobs[claimed.id]
            job.state, job.lease = "lease", claimed
            job.attempt += 1

    def end(self, job: Life, outcome: str, *, delay_s: float = 0.0) -> None:
        """The end of an attempt, or of a job that waited."""
        if outcome not in ("snooze", "release"):
            job.history.append((job.attempt, job.crashes, outcome))
        job.lease = None
        if outcome in TERMINAL:
            job.state = "job_dead" if outcome == "dead" else "ended"
            self._count(job, outcome)
            return
        if outcome != "retry":
            job.attempt -= 1
        if outcome == "crashed":
            job.crashes += 1
        job.state, job.due_s = ("delayed", self.now_s + delay_s) if outcome in ("retry", "snooze") else ("ready", 0.0)

    def rescue(self) -> int:
        orphans = self.orphans()
        for job in orphans:
            self.end(job, "dead" if job.crashes + 1 >= POISON_LIMIT else "crashed")
        return len(orphans)

    def retry(self, job: Life) -> str:
        if job.state != "job_dead":
            return "not dead"
        if self.holder_of(job.kind, job.key):
            return "key held"
        job.state, job.attempt, job.crashes, job.batch = "ready", 0, 0, None
        self.asked.discard(job.id)
        return "retried"

    def promote(self) -> int:
        due = [job for job in self.of("delayed") if job.due_s <= self.now_s]
        for job in due:
            job.state = "ready"
        return len(due)

    def cancel(self, jobs: Iterable[Life]) -> dict[int, tuple[str, str | None]]:
        """What each is answered: waiting ones end, running ones are asked."""
        answers: dict[int, tuple[str, str | None]] = {}
        for job in jobs:
            if job.state in ("ready", "delayed"):
                self.end(job, "cancelled")
                answers[job.id] = "cancelled", "cancelled"
            elif job.state == "lease":
                self.asked.add(job.id)
                answers[job.id] = "asked", None
            else:
                answers[job.id] = "ended", job.history[-1][2]
        return answers

    def heed(self) -> None:
        """Asked jobs that nobody runs: those that wait end, and no ask outlives its job's run."""
        for job in [self.jobs[i] for i in sorted(self.asked)]:
            if job.state in ("ready", "delayed"):
                self.end(job, "cancelled")
            if job.state != "lease":
                self.asked.discard(job.id)

    # Batches ---------------------------------------------------------------------------------------------------------

    def seal(self, batch: UUID) -> None:
        group = self.batches[batch]
        if group.state == "open":
            group.state = "sealed"
            self._maybe_close(group)

    def end_overdue(self) -> bool:
        """The batch whose deadline passed first is ended, with all that is left of it."""
        late = [
            g
            for g in self.batches.values()
            if g.state in ("open", "sealed") and g.deadline_s is not None and g.deadline_s <= self.now_s
        ]
        if not late:
            return False
        group = min(late, key=lambda g: g.deadline_s or 0.0)
        group.state = "sealed"
        for job in [j for j in self.jobs.values() if j.lives and j.batch == group.id]:
            self.end(job, "skipped")
        self._maybe_close(group)
        return True

    def _count(self, job: Life, outcome: str) -> None:
        if job.batch is not None:
            group = self.batches[job.batch]
            group.counts[outcome] += 1
            self._maybe_close(group)

    def _maybe_close(self, group: Group) -> None:
        if group.state == "sealed" and group.counts.total() >= group.total:
            group.state = "closing"

    # For the comparison ----------------------------------------------------------------------------------------------

    def rows(self) -> dict[int, tuple[object, ...]]:
        """Every job that is in a table, as the database should have it."""
        return {
            j.id: (
                j.state,
                j.kind,
                j.queue,
                j.key,
                j.tenant,
                j.batch,
                j.max_attempts,
                j.attempt,
                j.crashes,
                (j.lease.token, j.lease.node) if j.lease else None,
            )
            for j in self.jobs.values()
            if j.state != "ended"
        }

    def histories(self) -> dict[int, Counter[tuple[int, int, str]]]:
        """Every ended attempt, by job."""
        return {j.id: Counter(j.history) for j in self.jobs.values() if j.history}

    def groups(self) -> dict[UUID, tuple[object, ...]]:
        """Every batch, as the database should have it."""
        return {g.id: (g.state, g.total, g.counts.total(), dict(g.counts)) for g in self.batches.values()}
