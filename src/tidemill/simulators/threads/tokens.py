"""Codes and access tokens: who they are for, how long they live, what they may do. Nothing outlives the process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from tidemill.simulators.threads.data import DAY, HOUR, Account
from tidemill.simulators.threads.errors import GraphError
from tidemill.simulators.threads.knobs import Knobs

SCOPES = (
    "threads_basic",
    "threads_manage_insights",
    "threads_read_replies",
    "threads_manage_replies",
    "threads_content_publish",
    "threads_delete",
    "threads_manage_mentions",
    "threads_keyword_search",
    "threads_location_tagging",
    "threads_profile_discovery",
)
CODE_LIFE, SHORT_LIFE, LONG_LIFE, GRANT_LIFE, REFRESH_AGE = HOUR, HOUR, 60 * DAY, 90 * DAY, DAY

_REASONS = {
    458: "The user has not authorized the application.",
    459: "The user is enrolled in a blocking, logged-in checkpoint.",
    460: "The session has been invalidated because the user changed the password.",
    463: "Session has expired.",
    464: "The user is not a confirmed user.",
    467: "The session is invalid because the user logged out.",
    492: "The session is invalid.",
}


@dataclass(slots=True)
class Token:
    """An access token. `revoked` holds the subcode it is refused with, 0 while it is good."""

    text: str
    account: Account | None
    kind: Literal["short", "long", "app"]
    issued: int
    expires: int
    scopes: frozenset[str]
    granted: int
    revoked: int = 0


@dataclass(slots=True)
class Code:
    """An authorization code on its single way to a token."""

    account: Account
    redirect_uri: str
    scopes: frozenset[str]
    expires: int
    used: bool = False


class TokenStore:
    """Every code and token given out since the start or the last reset."""

    def __init__(self, seed: int, app_id: str) -> None:
        self._seed, self._app_id = seed, app_id
        self._tokens: dict[str, Token] = {}
        self._codes: dict[str, Code] = {}
        self._made: dict[str, int] = {}

    def get(self, text: str) -> Token | None:
        """The token with a text, good or not."""
        return self._tokens.get(text)

    def code(self, text: str) -> Code | None:
        """The code with a text, good or not."""
        return self._codes.get(text)

    def of(self, account: Account) -> list[Token]:
        """All tokens of an account, oldest first."""
        return [token for token in self._tokens.values() if token.account is account]

    def issue_code(self, account: Account, redirect_uri: str, scopes: Iterable[str], now: int) -> str:
        """A code for an account that consented."""
        text = "AQ" + self._text("code", account.id)
        self._codes[text] = Code(account, redirect_uri, frozenset(scopes), now + CODE_LIFE)
        return text

    def issue(
        self,
        account: Account,
        now: int,
        *,
        kind: Literal["short", "long"] = "long",
        scopes: Iterable[str] = SCOPES,
        expires_in: int | None = None,
        granted: int | None = None,
    ) -> Token:
        """A token of an account, good for an hour (short) or 60 days (long) unless `expires_in` (seconds) says else."""
        life = expires_in if expires_in is not None else LONG_LIFE if kind == "long" else SHORT_LIFE
        text = "THSIM" + self._text(kind, account.id)
        token = Token(text, account, kind, now, now + life, frozenset(scopes), now if granted is None else granted)
        self._tokens[text] = token
        return token

    def issue_app(self, now: int) -> Token:
        """A token of the app itself, for no account."""
        text = f"THSIM|{self._app_id}|{self._text('app', '')[:27]}"
        token = Token(text, None, "app", now, now + LONG_LIFE, frozenset(), now)
        self._tokens[text] = token
        return token

    def refresh(self, token: Token, now: int, knobs: Knobs) -> Token:
        """Extend a long token by 60 days from now. Raises GraphError by the rules of the provider."""
        if token.kind != "long":
            raise GraphError(190, "Only long-lived tokens can be refreshed.")
        if now - token.issued < REFRESH_AGE:
            raise GraphError(knobs.too_young_code, "The token must be at least 24 hours old to be refreshed.")
        if "threads_basic" not in token.scopes:
            raise GraphError(10, "(#10) The threads_basic permission is needed to refresh a token.")
        if not knobs.refresh_rotates:
            token.issued, token.expires, token.granted = now, now + LONG_LIFE, now
            return token
        if not knobs.old_token_survives_refresh:
            token.revoked = 467
        assert token.account is not None  # noqa: S101 - long tokens are always a user's
        return self.issue(token.account, now, scopes=token.scopes)

    def check(self, token: Token | None, now: int) -> Token:
        """The token if it is good. Raises GraphError 190 with the subcode of what is wrong."""
        if token is None:
            raise GraphError(190, "Invalid OAuth access token - Cannot parse access token")
        subcode = token.revoked or (463 if now >= token.expires else 0)
        if subcode:
            reason = _REASONS.get(subcode, "The session is no longer valid.")
            raise GraphError(190, f"Error validating access token: {reason}", subcode=subcode)
        return token

    def _text(self, kind: str, owner: str) -> str:
        """Looks random, yet is the same for the same seed, owner and count, whatever other owners do meanwhile."""
        number = self._made[owner] = self._made.get(owner, 0) + 1
        return blake2b(f"{self._seed}:{kind}:{owner}:{number}".encode(), digest_size=48).hexdigest()
