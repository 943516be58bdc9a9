"""Whether a connector works: its own check, carried out now, within bounds, with an answer in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args
from uuid import UUID

import structlog

from tidemill.connectors import Connector, HttpClient, ProviderError, Redactor, TimeBudgetSpent
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database
from tidemill.sync.jobs.credentials import newest
from tidemill.sync.jobs.endings import LONGEST_ERROR
from tidemill.sync.jobs.opening import read_context
from tidemill.vault import Secret, Vault, VaultError

__all__ = ["CHECK_S", "LATE_S", "REASONS", "Checked", "Checks", "Reason", "Subject"]

CHECK_S: Final = 20.0
"""What a check may take, where nobody says otherwise."""
LATE_S: Final = 8.0
"""What a connector may take beyond its time to end, as a tap does that has to be killed; then it is cut off."""

Reason = Literal[
    # A provider's refusals: the values of ErrorKind.
    "token_invalid",
    "user_action",
    "permission",
    "rate_limited",
    "transient",
    "gone",
    "invalid_request",
    "permanent",
    # Ours.
    "bad_config",
    "credentials_unreadable",
    "error",
    "time_budget",
    "unknown_provider",
]
"""Why a check did not pass."""
REASONS: tuple[str, ...] = get_args(Reason)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked: a connector as it stands.

    Attributes:
        refusal: why its secrets cannot be had, where they cannot.
    """

    company: UUID
    id: UUID
    provider: str
    config: Mapping[str, Any]
    secrets: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found. What is told is redacted and bounded.

    Attributes:
        reason: why it did not pass; None when it did.
        message: likewise in words.
        field: which part of the connector has to be mended, where that is known.
        seconds: what it took.
    """

    reason: Reason | None = None
    message: str | None = None
    field: str | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the connector works."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Checks:
    """Carries out checks as runs would be: the same connectors, egress guard, programs, and pauses of a provider's."""

    connectors: Mapping[str, Connector]
    http: HttpClient
    vault: Vault
    db: Database

    async def subject(
        self, conn: Connection, company: UUID, connector: UUID, provider: str, config: Mapping[str, Any]
    ) -> Subject:
        """A connector with its newest secrets opened; by a connection of the engine's role."""
        try:
            secrets = await newest(conn, self.vault, company, connector)
        except VaultError as e:
            return Subject(company=company, id=connector, provider=provider, config=config, refusal=str(e))
        return Subject(company=company, id=connector, provider=provider, config=config, secrets=secrets)

    async def check(self, subject: Subject, *, seconds: float = CHECK_S) -> Checked:
        """Ask the provider, outside of any transaction. It answers within ``seconds`` and :data:`LATE_S`."""
        began = time.monotonic()
        log = _log.bind(connector=str(subject.id), provider=subject.provider)
        reason, message, at = await self._asked(subject, seconds, log)
        took = round(time.monotonic() - began, 3)
        log.info("connector_checked", ok=reason is None, reason=reason, seconds=took)
        return Checked(reason=reason, message=message, field=at, seconds=took)

    async def _asked(self, subject: Subject, seconds: float, log: Any) -> tuple[Reason | None, str | None, str | None]:
        if subject.provider not in self.connectors:
            known = ", ".join(sorted(self.connectors))
            return "unknown_provider", f"there is no connector {subject.provider!r} here; known: {known}", "provider"
        if subject.refusal is not None:
            return "credentials_unreadable", subject.refusal, None
        ctx = read_context(
            http=self.http,
            db=self.db,
            provider=subject.provider,
            connector=subject.id,
            config=subject.config,
            secrets=subject.secrets,
            seconds=seconds,
            log=log,
        )
        redactor = Redactor(subject.secrets.values())
        try:
            async with asyncio.timeout(seconds + LATE_S):
                await self.connectors[subject.provider].check(ctx)
        except InvalidInput as e:
            return "bad_config", redactor.text(str(e).removeprefix(f"{e.field}: "), LONGEST_ERROR), e.field
        except ProviderError as e:
            status = "" if e.status is None else f" (HTTP {e.status})"
            return e.kind.value, redactor.text(e.message, LONGEST_ERROR) + status, None
        except (TimeBudgetSpent, TimeoutError):
            return "time_budget", f"it did not come to an end within {seconds:g} s", None
        except Exception as e:  # noqa: BLE001 - whatever a connector of somebody's raises
            text = redactor.text(f"{type(e).__name__}: {e}", LONGEST_ERROR)
            log.warning("connector_check_raised", error=text)
            return "error", text, None
        return None, None, None
