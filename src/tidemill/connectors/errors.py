"""How a call to a provider can fail, in words that every provider shares."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from tidemill.errors import TidemillError

ScopeName = Literal["app", "account"]


class ErrorKind(StrEnum):
    """What a failure means for the work at hand. The values are the reasons that stand in the sync logs."""

    TOKEN_INVALID = "token_invalid"  # noqa: S105
    """The token is expired, revoked or malformed: nothing more can be asked for this account."""
    USER_ACTION = "user_action"
    """The account's owner has to do something at the provider first."""
    PERMISSION = "permission"
    """This capability is not granted; others may be."""
    RATE_LIMITED = "rate_limited"
    """Too many calls; :attr:`ProviderError.scope` says for whom, ``retry_after`` for how long."""
    TRANSIENT = "transient"
    """May pass by itself: the retries of one call are used up, a later run tries again."""
    GONE = "gone"
    """The object asked for no longer exists."""
    INVALID_REQUEST = "invalid_request"
    """The provider refuses the question as asked."""
    PERMANENT = "permanent"
    """Refused for good: by policy, as a duplicate, or without a reason it names, again and again."""


FATAL = frozenset({ErrorKind.TOKEN_INVALID, ErrorKind.USER_ACTION, ErrorKind.PERMISSION, ErrorKind.RATE_LIMITED})
"""Kinds that end a stream: asking for the next object would meet the same answer."""


class ProviderError(TidemillError):
    """A provider's refusal or silence. Everything in it is redacted and bounded, so it may be logged and stored.

    Attributes:
        kind: what it means here.
        code, subcode: the provider's own, where it sent them.
        status: HTTP status, None when no answer came.
        message: one line, redacted.
        retry_after: how long the scope is paused; set when ``kind`` is ``RATE_LIMITED``.
        scope: ``app`` or ``account`` when ``kind`` is ``RATE_LIMITED``.
        response: the redacted answer, at most 2 KB as JSON, fit for ``sync_logs.metadata.api_response``.
        becomes: the kind this takes on when it outlasts its retries, None if it keeps its own.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        code: int | None = None,
        subcode: int | None = None,
        status: int | None = None,
        retry_after: timedelta | None = None,
        scope: ScopeName | None = None,
        response: Mapping[str, Any] | None = None,
        becomes: ErrorKind | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.code = code
        self.subcode = subcode
        self.status = status
        self.retry_after = retry_after
        self.scope: ScopeName | None = scope
        self.response = response
        self.becomes = becomes

    def __str__(self) -> str:
        facts: list[str] = []
        if self.code is not None:
            facts.append(f"code {self.code}" + (f"/{self.subcode}" if self.subcode is not None else ""))
        if self.status is not None:
            facts.append(f"HTTP {self.status}")
        where = f" ({', '.join(facts)})" if facts else ""
        return f"{self.kind}{where}: {self.message}"


class TimeBudgetSpent(TidemillError):
    """The time given for this work ran out; what was yielded before is good."""
