"""Bearer credentials as they come in a header."""

from __future__ import annotations

import hashlib
import hmac

from aiohttp import web

from tidemill.web.problems import Problem

__all__ = ["BearerSecret", "bearer_of", "unauthorized"]


class BearerSecret:
    """Admits requests that carry ``Authorization: Bearer <secret>``, written exactly so."""

    def __init__(self, secret: str) -> None:
        self._digest = _digest(secret)

    def admits(self, token: str | None) -> bool:
        """Whether the token is the secret, told in a time that depends on neither's text."""
        return token is not None and hmac.compare_digest(_digest(token), self._digest)

    def require(self, request: web.Request) -> None:
        """Pass, or raise a 401 :class:`Problem`; touches nothing but the request."""
        if not self.admits(bearer_of(request)):
            raise unauthorized()


def _digest(text: str) -> bytes:
    # Header bytes that are not UTF-8 arrive as surrogates; they must compare unequal, not raise.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


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
