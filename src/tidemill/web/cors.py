"""Which origins' pages may call us from a browser: those on a list, and none by default."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tidemill.errors import ConfigurationError
from tidemill.web.problems import Problem

__all__ = ["Cors"]

# As a browser writes it: scheme and host in lower case, no path, never "*" or "null".
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_METHODS = "GET, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = "Authorization, Content-Type, X-Request-Id, If-Match, Idempotency-Key, apikey, x-client-info"
_EXPOSED = "X-Request-Id, Retry-After, ETag, Link, Location"
_PREFLIGHT_MAX_AGE_S = "600"


class Cors:
    """Cross-origin access by an allow-list. Origins are compared whole and echoed, never answered with ``*``.

    Raises:
        ConfigurationError: when an origin is not one that a browser could send.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)
        for origin in sorted(self._origins):
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"TIDEMILL_CORS_ORIGINS: {origin!r} is not an origin; write it as https://app.example.com "
                    "(scheme, host, port if any; no path, no wildcard)"
                )

    async def seal(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say who may read this response; an ``on_response_prepare`` signal, so that errors carry it too."""
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    def middleware(self) -> Middleware:
        """Answers preflights; anything else passes."""

        @web.middleware
        async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
                return await handler(request)
            if request.headers.get("Origin") not in self._origins:
                raise Problem(403, "ORIGIN_NOT_ALLOWED", "This origin may not call this service.")
            return web.Response(
                status=204,
                headers={
                    "Access-Control-Allow-Methods": _METHODS,
                    "Access-Control-Allow-Headers": _REQUEST_HEADERS,
                    "Access-Control-Max-Age": _PREFLIGHT_MAX_AGE_S,
                },
            )

        return preflight
