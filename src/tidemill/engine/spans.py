"""The spans of jobs, after OpenTelemetry's conventions for messaging. Imported by :mod:`tidemill.engine.tracing` alone.

A run's span is a child of the span that enqueued the job, and links to it. The conventions ask for the link, and allow
the parent where one message is handled at a time, as a job is. So one trace shows a request with all that came of it,
each attempt included, and a tool that goes by links finds the same.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tidemill.engine.job import Job, NewJob
from tidemill.engine.tracing import Attempt, Sending
from tidemill.logging import redact

if TYPE_CHECKING:
    from tidemill.engine.finish import Ending
    from tidemill.engine.kind import Kind

_FAILED = frozenset({"retry", "dead", "failed"})
_propagator = TraceContextTextMapPropagator()


class Spans:
    """Makes them, with the tracer that the application has set up, now or later."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("tidemill", version("tidemill"))

    @contextmanager
    def enqueuing(self, jobs: Sequence[NewJob], kinds: Sequence[Kind]) -> Generator[Sending]:
        """One span for all jobs of a statement: it is the one that each of them belongs to."""
        if not trace.get_current_span().get_span_context().is_valid or all(job.trace for job in jobs):
            yield Sending(jobs)
            return
        span = self._producer(kinds, contexts.get_current())
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield _Sent([job if job.trace else replace(job, trace=_parent_of(span)) for job in jobs], span)
            except Exception as e:
                _record(span, e)
                span.set_attribute("error.type", type(e).__qualname__)
                span.set_status(StatusCode.ERROR, _told(e))
                raise

    def each_in_its_own(self, jobs: Sequence[NewJob], kinds: Sequence[Kind]) -> list[NewJob]:
        """A root span for each job."""
        traced: list[NewJob] = []
        for job, kind in zip(jobs, kinds, strict=True):
            span = self._producer([kind], contexts.Context())
            span.end()
            traced.append(job if job.trace else replace(job, trace=_parent_of(span)))
        return traced

    def running(self, job: Job, queue: str, *, tenant: bool) -> Attempt:
        """The span of an attempt; a root where the job has no trace, whatever the worker itself runs in."""
        context = contexts.Context() if job.trace is None else _context_of(job.trace)
        asked_by = trace.get_current_span(context).get_span_context()
        attributes: dict[str, str | int] = {
            **_attributes("run", "process", queue),
            "messaging.message.id": str(job.id),
            "messaging.tidemill.kind": job.kind,
            "messaging.tidemill.attempt": job.attempt,
        }
        if job.batch is not None:
            attributes["messaging.tidemill.batch"] = str(job.batch)
        if tenant and job.tenant is not None:
            attributes["messaging.tidemill.tenant"] = str(job.tenant)
        span = self._tracer.start_span(
            f"run {job.kind}",
            context,
            SpanKind.CONSUMER,
            attributes,
            links=[Link(asked_by)] if asked_by.is_valid else (),
            record_exception=False,
            set_status_on_exception=False,
        )
        return _Told(span)

    def current(self) -> str | None:
        """The current span's traceparent."""
        return _parent_of(trace.get_current_span())

    @contextmanager
    def within(self, traceparent: str) -> Generator[None]:
        """The span of a traceparent as the current one."""
        token = contexts.attach(_context_of(traceparent))
        try:
            yield
        finally:
            contexts.detach(token)

    def _producer(self, kinds: Sequence[Kind], context: contexts.Context) -> Span:
        names, queues = {kind.name for kind in kinds}, {kind.queue for kind in kinds}
        attributes: dict[str, str | int] = {
            **_attributes("enqueue", "send", queues.pop() if len(queues) == 1 else None)
        }
        if len(kinds) > 1:
            attributes["messaging.batch.message_count"] = len(kinds)
        one = names.pop() if len(names) == 1 else None
        if one is not None:
            attributes["messaging.tidemill.kind"] = one
        return self._tracer.start_span(f"enqueue {one}" if one else "enqueue", context, SpanKind.PRODUCER, attributes)


class _Sent(Sending):
    def __init__(self, jobs: Sequence[NewJob], span: Span) -> None:
        super().__init__(jobs)
        self._span = span

    def became(self, ids: Sequence[int | None]) -> None:
        if len(ids) == 1 and ids[0] is not None:
            self._span.set_attribute("messaging.message.id", str(ids[0]))


class _Told(Attempt):
    def __init__(self, span: Span) -> None:
        self._span = span
        self._error: str | None = None

    def __enter__(self) -> Self:
        self._token = contexts.attach(trace.set_span_in_context(self._span, contexts.Context()))
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        contexts.detach(self._token)
        if e is not None:  # stopped from outside: the worker alone knows whether it is cancelled or given back
            self._span.set_attribute("messaging.tidemill.outcome", "stopped")
        self._span.end()

    def raised(self, error: BaseException) -> None:
        self._error = type(error).__qualname__
        _record(self._span, error)

    def ended(self, ending: Ending | None) -> None:
        outcome = "lease_lost" if ending is None else ending.outcome
        self._span.set_attribute("messaging.tidemill.outcome", outcome)
        if ending is None or outcome in _FAILED:
            self._span.set_attribute("error.type", self._error or outcome)
            reason = None if ending is None else ending.reason
            self._span.set_status(StatusCode.ERROR, None if reason is None else str(redact(reason)))


def _attributes(name: str, kind: str, queue: str | None) -> Mapping[str, str]:
    known = {"messaging.system": "tidemill", "messaging.operation.name": name, "messaging.operation.type": kind}
    return known if queue is None else {**known, "messaging.destination.name": queue}


def _record(span: Span, error: BaseException) -> None:
    """As ``Span.record_exception`` does, but without what a log would not show either."""
    stack = "".join(traceback.format_exception(error))
    shown = {"exception.type": type(error).__qualname__, "exception.message": _told(error)}
    span.add_event("exception", {**shown, "exception.stacktrace": str(redact(stack))})


def _told(error: BaseException) -> str:
    return str(redact(str(error)))


def _parent_of(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span, contexts.Context()))
    return carrier.get("traceparent")


def _context_of(traceparent: str) -> contexts.Context:
    return _propagator.extract({"traceparent": traceparent}, contexts.Context())


SPANS = Spans()
