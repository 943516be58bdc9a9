"""The scheduler's secret at the door."""

from __future__ import annotations

import hashlib
import hmac

from aiohttp import web

from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.web.bearer import bearer_of, unauthorized

__all__ = ["CronSecret"]

MIN_LENGTH = 16
"""Characters that a secret must have in production."""


class CronSecret:
    """Admits requests that carry ``Authorization: Bearer <CRON_SECRET>``, written exactly so.

    Raises:
        ConfigurationError: naming CRON_SECRET when it is missing or, in production, too short to be one.
    """

    def __init__(self, settings: Settings) -> None:
        secret = settings.cron_secret
        if not secret:
            raise ConfigurationError(
                "CRON_SECRET is not set; a functions server does not start without it. "
                "Set the same secret here and in the scheduler."
            )
        if secret != secret.strip():
            raise ConfigurationError("CRON_SECRET begins or ends with white space, which no HTTP header can carry")
        if settings.env == "production" and len(secret) < MIN_LENGTH:
            raise ConfigurationError(f"CRON_SECRET is too short for production; use at least {MIN_LENGTH} characters")
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
