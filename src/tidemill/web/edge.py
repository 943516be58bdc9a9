"""What every request passes on its way in and out: an id, a deadline, one log line, and errors made presentable."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.contextvars import bound_contextvars

from tidemill.web.problems import Problem, problem_of

__all__ = ["HANDLER_SECONDS", "edge", "extend_deadline", "note", "request_id", "seal_headers"]

HANDLER_SECONDS = 10.0
"""What a handler may take beside the waiting it was asked for."""

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_API = "/api/"
"""Below this path problems have the form of RFC 9457; functions keep their own."""
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger()


@dataclass
class _Passage:
    """A request's way through the edge."""

    id: str
    deadline: asyncio.Timeout
    facts: dict[str, object]


_PASSAGE = web.RequestKey("passage", _Passage)


def request_id(request: web.Request) -> str:
    """The id under which this request is logged and answered: the caller's ``X-Request-Id`` if it is fit, else ours."""
    return request[_PASSAGE].id


def extend_deadline(request: web.Request, seconds: float) -> None:
    """Give the handler ``seconds`` more, counted from now, for waiting that the caller asked for."""
    request[_PASSAGE].deadline.reschedule(asyncio.get_running_loop().time() + HANDLER_SECONDS + seconds)


def note(request: web.Request, **facts: object) -> None:
    """Put facts (a user's, account's or run's id) on the request's log line."""
    request[_PASSAGE].facts.update(facts)


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware; whatever happens inside, the client gets a response with its request's id."""
    given = request.headers.get("X-Request-Id", "")
    identity = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
    request[_PASSAGE] = passage = _Passage(identity, asyncio.timeout(HANDLER_SECONDS), {})
    started = time.monotonic()
    with bound_contextvars(request_id=identity):
        try:
            async with passage.deadline:
                response = await handler(request)
        except Exception as error:  # noqa: BLE001 -- the edge: everything is logged and answered here, nothing passes it
            response = _answer(request, error, identity)
        _log(request, response.status, time.monotonic() - started)
    return response


def _answer(request: web.Request, error: Exception, identity: str) -> web.Response:
    problem = problem_of(error)
    if problem is None:
        log.error("request failed", exc_info=error)
        problem = Problem(500, "INTERNAL", "Something went wrong; quote this id when you ask about it.")
    elif problem.status >= 500:
        log.warning("request not served", code=problem.code, error=repr(error))
    return problem.details(identity) if request.path.startswith(_API) else problem.response(identity)


def _log(request: web.Request, status: int, seconds: float) -> None:
    write = log.debug if request.path in _QUIET else log.info
    # The raw path is still percent-encoded, so it cannot forge a line; the query may hold anything and stays out.
    path = request.rel_url.raw_path[:200]
    write(
        "request",
        method=request.method,
        path=path,
        status=status,
        ms=round(seconds * 1000, 1),
        **request[_PASSAGE].facts,
    )


async def seal_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every response; an ``on_response_prepare`` signal."""
    response.headers["X-Request-Id"] = request_id(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Server"] = "tidemill"
