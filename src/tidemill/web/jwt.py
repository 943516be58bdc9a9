"""Who a user's access token says the caller is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import jwt
import msgspec
import structlog

from tidemill.errors import ConfigurationError
from tidemill.web.bearer import unauthorized

__all__ = ["KeySource", "SharedSecret", "User", "Verifier"]

LEEWAY_S = 10.0
"""How far a token issuer's clock may be from ours."""
MIN_SECRET_BYTES = 32
"""RFC 7518 §3.2: a key for HS256 is at least as long as its hash."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

log = structlog.get_logger()


@dataclass(frozen=True)
class User:
    """A caller whose token was verified.

    Attributes:
        id: the token's ``sub``.
        claims: all claims of the token, as row-level security shall see them.
    """

    id: UUID
    claims: Mapping[str, object]


class KeySource(Protocol):
    """Where the key comes from that a token must be signed with."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that configuration allows; what a token's header says only chooses among them."""
        ...

    async def key(self, header: Mapping[str, Any]) -> Any | None:
        """The key for a token with this (unverified) header, or None when no known key can be meant."""
        ...


class SharedSecret:
    """One HS256 secret, shared with the issuer.

    Raises:
        ConfigurationError: when the secret is shorter than 32 bytes.
    """

    algorithms = ("HS256",)

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        if len(self._secret) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"TIDEMILL_JWT_SECRET is too short; HS256 takes at least {MIN_SECRET_BYTES} bytes")

    async def key(self, header: Mapping[str, Any]) -> bytes:
        """The secret, whatever the header says."""
        return self._secret


class Verifier:
    """Turns an access token into a :class:`User`, or refuses it.

    A token must be signed by the configured key with the configured algorithm, name ``audience`` in ``aud``, be within
    its ``nbf`` and ``exp`` (leeway 10 s), and its ``sub`` must be a UUID. A ``role`` other than ``authenticated`` (the
    anon and service keys of a Supabase project are tokens of the same secret) is not a user's.
    """

    def __init__(self, keys: KeySource, audience: str) -> None:
        self._keys = keys
        self._audience = audience

    async def user(self, token: str | None) -> User:
        """The token's user.

        Raises:
            Problem: 401, code ``JWT_EXPIRED`` for a good token past its time, else ``UNAUTHORIZED``, without a reason;
                503 while the keys cannot be fetched.
        """
        if token is None or not _COMPACT.fullmatch(token):
            raise unauthorized()
        try:
            claims = await self._claims(token)
            subject = UUID(claims["sub"])
            if b"\\u0000" in msgspec.json.encode(claims):
                raise ValueError("a claim holds what Postgres cannot")
        except jwt.ExpiredSignatureError as error:
            raise unauthorized("JWT_EXPIRED", "The access token has expired.") from error
        # Beside its own errors the library lets through what odd JSON provokes: endless nesting, exp = 1e999, sub = 7.
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            log.info("access token refused", reason=f"{type(error).__name__}: {error}"[:200])
            raise unauthorized() from error
        if claims.get("role", "authenticated") != "authenticated":
            raise unauthorized()
        return User(subject, claims)

    async def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in self._keys.algorithms:
            raise jwt.InvalidAlgorithmError("the algorithm is not the configured one")
        key = await self._keys.key(header)
        if key is None:
            raise jwt.InvalidKeyError("no such key")
        return jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            audience=self._audience,
            leeway=LEEWAY_S,
            options={"require": ["exp", "sub", "aud"]},
        )
