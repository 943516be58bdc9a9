"""Traces across enqueue and run, where the application uses OpenTelemetry.

A process is traced once it has imported ``opentelemetry.trace``: without that there can be no current span and no
exporter. Elsewhere nothing is imported, and a job pays for a look into a dict.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tidemill.engine.job import Job, NewJob

if TYPE_CHECKING:
    from tidemill.engine import spans as otel
    from tidemill.engine.finish import Ending
    from tidemill.engine.kind import Kind


def _spans() -> otel.Spans | None:
    if "opentelemetry.trace" not in sys.modules:
        return None
    from tidemill.engine.spans import SPANS

    return SPANS


def is_on() -> bool:
    """Whether this process is traced."""
    return _spans() is not None


class Sending:
    """Jobs on their way into the database, with the traces that they will carry."""

    def __init__(self, jobs: Sequence[NewJob]) -> None:
        self.jobs = jobs

    def became(self, ids: Sequence[int | None]) -> None:
        """Take note of the ids that they got, None for what was not enqueued."""


class Attempt:
    """One run of a job, as a trace tells of it; this one is told of nowhere."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None: ...

    def raised(self, error: BaseException) -> None:
        """Take note of what the handler raised, secrets taken out."""

    def ended(self, ending: Ending | None) -> None:
        """Take note of how it ended; None says that the lease was lost."""


_UNTOLD = Attempt()


def enqueuing(jobs: Sequence[NewJob], kinds: Sequence[Kind]) -> AbstractContextManager[Sending]:
    """Around an enqueue. Inside a span the jobs get a span of their own to belong to, unless they carry a trace."""
    spans = _spans()
    return nullcontext(Sending(jobs)) if spans is None else spans.enqueuing(jobs, kinds)


def each_in_its_own(jobs: Sequence[NewJob], kinds: Sequence[Kind]) -> Sequence[NewJob]:
    """Jobs that nobody's request led to, a schedule's fires: each begins a trace, which its attempts share."""
    spans = _spans()
    return jobs if spans is None else spans.each_in_its_own(jobs, kinds)


def running(job: Job, queue: str, *, tenant: bool) -> Attempt:
    """Around a run; ``tenant`` says whether the tenant may be told."""
    spans = _spans()
    return _UNTOLD if spans is None else spans.running(job, queue, tenant=tenant)


def current() -> str | None:
    """The current span as a W3C traceparent; None where there is none."""
    spans = _spans()
    return None if spans is None else spans.current()


def within(trace: str | None) -> AbstractContextManager[object]:
    """Inside, the span of a traceparent is the current one: for another process's part of a run."""
    spans = _spans()
    return nullcontext() if spans is None or trace is None else spans.within(trace)
