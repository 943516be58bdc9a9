"""Functions that say in which span they run, in a module that child processes can import."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace

from tidemill import PlainContext


def whereabouts() -> dict[str, str]:
    span = trace.get_current_span().get_span_context()
    return {"trace": f"{span.trace_id:032x}", "span": f"{span.span_id:016x}"}


def in_thread(ctx: PlainContext) -> dict[str, Any]:
    return whereabouts()


def in_process(ctx: PlainContext) -> dict[str, Any]:
    return whereabouts()
