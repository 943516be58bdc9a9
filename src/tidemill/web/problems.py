"""What a client is told when a request cannot be served: a code, a sentence, an id to quote; never internals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web

from tidemill.errors import DatabaseUnavailable, InvalidInput, SchemaOutOfDate

__all__ = ["Details", "FieldError", "Problem", "json_response", "problem_of"]

PROBLEM_JSON = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """A field that cannot be taken, and why."""

    field: str
    message: str


class Details(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    """A problem as RFC 9457 has it. ``code`` and ``errors`` are for programs, ``id`` is what to quote."""

    kind: str
    title: str
    status: int
    detail: str
    code: str
    id: str
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """Ends a request with an error that was expected; the message is written for the client.

    Attributes:
        status: the HTTP status.
        code: stable and upper-case, for programs.
        message: one sentence for people.
        headers: extra response headers, such as ``Retry-After``.
        errors: the fields that it is about, where it is about any.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

    def response(self, request_id: str) -> web.Response:
        """The problem as JSON: ``{"error": {"code", "message", "id"}}``."""
        error = {"code": self.code, "message": self.message, "id": request_id}
        return json_response({"error": error}, status=self.status, headers=self.headers)

    def details(self, request_id: str) -> web.Response:
        """The problem as ``application/problem+json``, the form of the API."""
        details = Details(
            kind=f"urn:tidemill:problem:{self.code.lower().replace('_', '-')}",
            title=self.code.replace("_", " ").capitalize(),
            status=self.status,
            detail=self.message,
            code=self.code,
            id=request_id,
            errors=self.errors,
        )
        body = msgspec.json.encode(details)
        return web.Response(body=body, status=self.status, headers=self.headers, content_type=PROBLEM_JSON)


def problem_of(error: Exception) -> Problem | None:
    """The problem that a failure means to the client, or None when it is nobody's business but ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        return _from_aiohttp(error)
    if isinstance(error, InvalidInput):
        return Problem(400, "INVALID_INPUT", str(error))
    if isinstance(error, DatabaseUnavailable | SchemaOutOfDate):
        return Problem(503, "UNAVAILABLE", "The service is not ready; try again soon.", headers={"Retry-After": "5"})
    if isinstance(error, TimeoutError):
        return Problem(504, "TIMEOUT", "The request took too long.")
    return None


def _from_aiohttp(error: web.HTTPException) -> Problem:
    phrase = HTTPStatus(error.status).phrase
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(error.status, re.sub(r"[^A-Z]+", "_", phrase.upper()), f"{phrase}.", headers=headers)


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response; dates, times and UUIDs are written in their standard forms."""
    return web.Response(
        body=msgspec.json.encode(body), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )
