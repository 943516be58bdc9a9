"""The scheduler's secret at the door."""

from __future__ import annotations

from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.web.bearer import BearerSecret

__all__ = ["CronSecret"]

MIN_LENGTH = 16
"""Characters that a secret must have in production."""


class CronSecret(BearerSecret):
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
        super().__init__(secret)
