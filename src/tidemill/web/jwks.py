"""An issuer's public keys, fetched from its JWKS URL and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import aiohttp
import jwt
import msgspec
import structlog
from aiohttp import web
from yarl import URL

from tidemill.errors import ConfigurationError, TidemillError
from tidemill.web.problems import Problem

__all__ = ["Jwks"]

FRESH_S = 600.0
"""Keys are asked for again after this; so long may a withdrawn key still be honoured."""
STALE_S = 3600.0
"""Keys are used no longer than this when the issuer does not answer."""
REFETCH_S = 60.0
"""At most one request to the issuer in this time, whatever callers send."""

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
_MAX_BODY = 256 * 1024
_MAX_KEYS = 64

log = structlog.get_logger()


class Jwks:
    """A :class:`~tidemill.web.jwt.KeySource` over a JWKS URL, for ES256 and RS256.

    A ``kid`` that is not known causes one fetch, if the last try is a minute past; then it is refused. Callers that
    come during a fetch wait for that one. It works while :meth:`lifetime` runs.

    Raises:
        ConfigurationError: when ``url`` is not an absolute http or https URL.
    """

    algorithms = ("ES256", "RS256")

    def __init__(self, url: str, *, now: Callable[[], float] = time.monotonic) -> None:
        parsed = URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError("TIDEMILL_JWKS_URL must be an absolute http or https URL")
        self._url = parsed
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Keeps the HTTP session that fetching needs; one of an application's ``cleanup_ctx``."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as self._session:
            yield
        self._session = None

    async def key(self, header: Mapping[str, Any]) -> Any | None:
        """The key that the header's ``kid`` names, if it is one for the header's ``alg``.

        Raises:
            Problem: 503 when no usable keys could be had from the issuer.
        """
        kid = header.get("kid")
        if not isinstance(kid, str):
            return None
        if not self._younger_than(FRESH_S) or kid not in self._keys:
            async with self._fetching:
                if (not self._younger_than(FRESH_S) or kid not in self._keys) and self._may_try():
                    await self._fetch()
        if not self._younger_than(STALE_S):
            raise Problem(503, "AUTH_UNAVAILABLE", "Access tokens cannot be checked now; try again soon.",
                          headers={"Retry-After": "60"})  # fmt: skip
        found = self._keys.get(kid)
        return found.key if found and found.algorithm_name == header.get("alg") else None

    def _younger_than(self, seconds: float) -> bool:
        return self._fetched_at is not None and self._now() - self._fetched_at < seconds

    def _may_try(self) -> bool:
        return self._tried_at is None or self._now() - self._tried_at >= REFETCH_S

    async def _fetch(self) -> None:
        """Replace the keys; on failure keep those there are, and say so."""
        self._tried_at = self._now()
        try:
            self._keys = _parse(await self._read())
        except (aiohttp.ClientError, TimeoutError, TidemillError) as error:
            log.warning("signing keys could not be fetched", url=str(self._url.with_query(None)), error=repr(error))
            return
        self._fetched_at = self._now()

    async def _read(self) -> bytes:
        if self._session is None:
            raise RuntimeError("Jwks is used outside of its lifetime()")
        async with self._session.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise TidemillError(f"the issuer answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > _MAX_BODY:
                    raise TidemillError(f"the key set is larger than {_MAX_BODY} bytes")
            return bytes(body)


def _parse(body: bytes) -> dict[str, jwt.PyJWK]:
    """The set's P-256 and RSA signing keys by ``kid``; a symmetric key must never come from a public URL."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise TidemillError("the key set is not a JSON object") from error
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise TidemillError("the key set has no list of keys")
    keys: dict[str, jwt.PyJWK] = {}
    for entry in cast("list[object]", listed)[:_MAX_KEYS]:
        if key := _signing_key(entry):
            keys[cast(str, key.key_id)] = key
    if not keys:
        raise TidemillError("the key set has no usable signing key")
    return keys


def _signing_key(entry: object) -> jwt.PyJWK | None:
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, Any]", entry)
    if (
        not isinstance(fields.get("kid"), str)
        or fields.get("use", "sig") != "sig"
        or fields.get("kty") not in ("EC", "RSA")
    ):
        return None
    try:
        key = jwt.PyJWK(fields)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if key.algorithm_name in Jwks.algorithms else None
