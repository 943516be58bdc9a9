"""Bearer credentials as they come in a header."""

from __future__ import annotations

from aiohttp import web

from tidemill.web.problems import Problem

__all__ = ["bearer_of", "unauthorized"]


def bearer_of(request: web.Request) -> str | None:
    """The token of the request's one Authorization header: scheme ``Bearer``, case kept, one space; None otherwise."""
    given = request.headers.getall("Authorization", [])
    if len(given) != 1 or not given[0].startswith("Bearer "):
        return None
    token = given[0].removeprefix("Bearer ")
    return token if token and token == token.strip() else None


def unauthorized(code: str = "UNAUTHORIZED", message: str = "A valid bearer token is required.") -> Problem:
    """The one 401, the same for a missing and for a wrong credential."""
    return Problem(401, code, message, headers={"WWW-Authenticate": "Bearer"})
