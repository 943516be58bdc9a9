"""The API as a table: the server's routes and the OpenAPI document are made from it, so they cannot drift apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tidemill.postgres import Connection
from tidemill.web.api.call import Answer, Call
from tidemill.web.api.queries import NoQuery

__all__ = ["PREFIX", "Route"]

PREFIX = "/api/v1"

Handler = Callable[[Connection, Call], Awaitable[Answer]]
"""Does the work in a tenant's session: what it may see and change is row security's to say."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation.

    Attributes:
        path: below :data:`PREFIX`.
        name: the operation's id.
        gives: type of the body of the answer; None for an answer without one.
        query: type of the query's parameters.
        takes: type of the request's body; None where none is taken.
        if_match: whether an edit ``must`` name the version it is of, or ``may``.
        keeps: whether its answer is kept for requests of the same ``Idempotency-Key``.
        waits: seconds that it may take beside those that every request has, for calls to the outside.
        codes: problems that it has beside those that every route of its look has.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    summary: str
    handler: Handler
    gives: Any = None
    status: int = 200
    query: type[msgspec.Struct] = NoQuery
    takes: type[msgspec.Struct] | None = None
    if_match: Literal["must", "may", None] = None
    keeps: bool = False
    waits: float = 0.0
    codes: tuple[str, ...] = ()

    @property
    def all_codes(self) -> tuple[str, ...]:
        """Every problem that it may answer with."""
        codes = {"UNAUTHORIZED", "JWT_EXPIRED", "NOT_ACCEPTABLE", "INVALID_FIELD", "RATE_LIMITED", "INTERNAL"}
        codes |= {"NOT_CONFIGURED", "UNAVAILABLE", "TIMEOUT", *self.codes}
        if "{" in self.path:
            codes.add("NOT_FOUND")
        if self.method != "GET":
            # Any of them may come with a body, taken or not.
            codes |= {"INVALID_BODY", "TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
        if self.if_match:
            codes.add("PRECONDITION_FAILED")
        if self.if_match == "must":
            codes.add("PRECONDITION_REQUIRED")
        if self.keeps:
            codes |= {"IDEMPOTENCY_KEY_BUSY", "IDEMPOTENCY_KEY_REUSED"}
        return tuple(sorted(codes))
