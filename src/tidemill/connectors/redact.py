"""Takes secrets out of what a provider said, before anybody keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, quote_plus

import msgspec

from tidemill.vault import Secret

HIDDEN = "[redacted]"
MAX_TEXT = 500
"""Characters of a message that are kept."""
MAX_RESPONSE_BYTES = 2048
"""Size as JSON of an answer that is kept."""

_MAX_SCAN = 65_536
_MAX_DEPTH = 6
_MAX_ITEMS = 40
_NAMES = (
    r"access[_-]?token|refresh[_-]?token|input[_-]?token|id[_-]?token|token|client[_-]?secret|app[_-]?secret"
    r"|appsecret_proof|api[_-]?key|password|authorization|set-cookie|cookie|signature"
)
_KEY = re.compile(rf"(?:{_NAMES}|secret|state)", re.IGNORECASE)
_CODE_KEY = re.compile(r"(?:code|auth[_-]?code|authorization[_-]?code)", re.IGNORECASE)
_DROPPED = frozenset({"paging"})  # its URLs carry the access token (Threads, all of Graph)
_LOOKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(bearer|basic)(\s+|%20)[^\s\"',;<>]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(rf"((?:\b|%3F|%26)(?:{_NAMES})(?:=|%3D))[^\s&\"'<>\\;]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"((?:[?&]|%3F|%26)(?:code|state)(?:=|%3D))[^\s&\"'<>\\;#]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"(\\?[\"'](?:{_NAMES})\\?[\"']\s*:\s*\\?[\"'])[^\"'\\]*", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\bTH[A-Za-z0-9_|%-]{18,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), HIDDEN),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s:/@]{0,128}:[^\s@/]{1,512}@", re.IGNORECASE), rf"\1{HIDDEN}@"),
)


class Redactor:
    """Hides secrets by the name of their key, by their look, and (the sure way) by knowing them.

    ``secrets`` are the ones in use for the call at hand: token, client secret, code. Their percent-encoded forms
    are hidden too.
    """

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(text := secret.reveal()) >= 4:  # shorter ones would blot out ordinary words
                spellings |= {text, quote(text, safe=""), quote_plus(text), msgspec.json.encode(text).decode()[1:-1]}
        self._known = tuple(sorted(spellings, key=len, reverse=True))

    def text(self, text: str, limit: int = MAX_TEXT) -> str:
        """``text`` without secrets, cut to ``limit`` characters."""
        # Hide first, cut after: a cut token would no longer be recognized. What is scanned is bounded as well; the
        # end of it, where a token may be cut, lies far behind ``limit``.
        shown = text[:_MAX_SCAN]
        for known in self._known:
            shown = shown.replace(known, HIDDEN)
        for look, replacement in _LOOKS:
            shown = look.sub(replacement, shown)
        shown = shown.replace("\x00", "")  # Postgres takes no NUL in text or jsonb
        return shown if len(shown) <= limit else shown[: limit - 1] + "…"

    def response(self, value: object) -> dict[str, Any]:
        """A decoded answer fit to be stored: a dict without secrets, at most :data:`MAX_RESPONSE_BYTES` as JSON."""
        shown = self._value(value, 0)
        answer = cast(dict[str, Any], shown) if isinstance(shown, dict) else {"body": shown}
        encoded = msgspec.json.encode(answer)
        if len(encoded) <= MAX_RESPONSE_BYTES:
            return answer
        # Escaping what is already JSON at most doubles it, so half the room always fits.
        kept = encoded[: MAX_RESPONSE_BYTES // 2 - 64].decode(errors="ignore")
        return {"truncated": True, "start": kept}

    def _value(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= _MAX_DEPTH:
            return "…"
        if isinstance(value, Mapping):
            items = list(cast(Mapping[object, object], value).items())[:_MAX_ITEMS]
            return {
                self.text(str(key), 80): self._entry(str(key), item, depth)
                for key, item in items
                if key not in _DROPPED
            }
        if isinstance(value, Sequence):
            return [self._value(item, depth + 1) for item in cast(Sequence[object], value)[:_MAX_ITEMS]]
        return self.text(str(value))

    def _entry(self, key: str, item: object, depth: int) -> object:
        if _KEY.fullmatch(key) and item is not None:
            return HIDDEN
        # An error's code is a number; a code that is a word is an authorization code.
        if _CODE_KEY.fullmatch(key) and isinstance(item, str) and not item.isdecimal():
            return HIDDEN
        return self._value(item, depth + 1)
