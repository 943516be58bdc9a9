"""What the Threads API means by its errors.

Decided by ``code``, ``error_subcode`` and ``is_transient`` alone; ``type`` is nearly always ``OAuthException`` and the
HTTP status differs between apps, so the status counts only where the body says nothing (Graph API error handling).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import msgspec
from multidict import istr

from tidemill.connectors.errors import ErrorKind, ProviderError, ScopeName
from tidemill.connectors.gate import Usage
from tidemill.connectors.redact import Redactor

_APP_LIMITS = frozenset({4, 341})
_ACCOUNT_LIMITS = frozenset({17, 32, 613, *range(80000, 80015)})
_TOKEN = frozenset({102, 190})
_USER_ACTION_SUBCODES = frozenset({459, 464})
_PERMISSION = frozenset({3, 10, *range(200, 300)})
_UNSETTLED = frozenset({1, 2})
_INVALID = frozenset({24, 100})
_GONE_SUBCODE = 33
_UNKNOWN = 1
"""Also the answer to a metric the object does not have, for ever; so it becomes ``PERMANENT`` when it lasts."""

_APP_USAGE = istr("X-App-Usage")
_ACCOUNT_USAGE = istr("X-Business-Use-Case-Usage")
_SHARES = ("call_count", "total_cputime", "total_time")


class ThreadsDialect:
    """Reads both error envelopes (Graph's nested one and the flat one of the code exchange) and the usage headers."""

    def failure(self, status: int, body: bytes, redactor: Redactor) -> ProviderError:
        """Classify an answer that could not be read as what was asked for."""
        answer: object = None
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _not_json(status, body, redactor)
        fields = _dict(answer)
        if fields is not None:
            if (error := _dict(fields.get("error"))) is not None:
                return _graph(status, error, fields, redactor)
            if "error_type" in fields or "error_message" in fields:
                return _flat(status, fields, redactor)
        return ProviderError(
            _by_status(status),
            "an answer of unknown shape",
            status=status,
            response=redactor.response(answer),
            scope="account" if status == 429 else None,
        )

    def usage(self, headers: Mapping[str, str]) -> Usage | None:
        """The fuller of the two usage headers.

        Which of them Threads sends is not documented. Its limits count per app and user, so both are read as the
        account's; a limit of the whole app shows itself by code 4.
        """
        texts = [headers[name] for name in (_APP_USAGE, _ACCOUNT_USAGE) if name in headers]
        return _usage(texts) if texts else None


def _graph(status: int, error: dict[str, Any], answer: dict[str, Any], redactor: Redactor) -> ProviderError:
    code, subcode = _int(error.get("code")), _int(error.get("error_subcode"))
    kind = _kind(code, subcode, error, status)
    scope: ScopeName | None = None
    if kind is ErrorKind.RATE_LIMITED:
        scope = "app" if code in _APP_LIMITS else "account"
    transient = error.get("is_transient") is True
    return ProviderError(
        kind,
        redactor.text(str(error.get("message") or "no message")),
        code=code,
        subcode=subcode,
        status=status,
        scope=scope,
        response=redactor.response(answer),
        becomes=ErrorKind.PERMANENT if code == _UNKNOWN and not transient else None,
    )


def _kind(code: int | None, subcode: int | None, error: dict[str, Any], status: int) -> ErrorKind:
    if code in _APP_LIMITS or code in _ACCOUNT_LIMITS:  # before is_transient, which throttles carry too
        return ErrorKind.RATE_LIMITED
    if error.get("is_transient") is True or code in _UNSETTLED:
        return ErrorKind.TRANSIENT
    if code in _TOKEN or (code is None and error.get("type") == "OAuthException"):
        return ErrorKind.USER_ACTION if subcode in _USER_ACTION_SUBCODES else ErrorKind.TOKEN_INVALID
    if code in _PERMISSION:
        return ErrorKind.PERMISSION
    if code in _INVALID:
        return ErrorKind.GONE if code == 100 and subcode == _GONE_SUBCODE else ErrorKind.INVALID_REQUEST
    if status >= 500:
        return ErrorKind.TRANSIENT
    return ErrorKind.PERMANENT  # 368 policy block, 506 duplicate, and what nobody documents


def _flat(status: int, fields: dict[str, Any], redactor: Redactor) -> ProviderError:
    """The code exchange's own envelope. Its ``code`` is an HTTP status, not one of Graph's codes."""
    kind = _by_status(_int(fields.get("code")) or status)
    return ProviderError(
        ErrorKind.INVALID_REQUEST if kind is ErrorKind.PERMANENT else kind,
        redactor.text(str(fields.get("error_message") or "no message")),
        status=status,
        scope="app" if kind is ErrorKind.RATE_LIMITED else None,
        response=redactor.response(fields),
    )


def _not_json(status: int, body: bytes, redactor: Redactor) -> ProviderError:
    kind = ErrorKind.RATE_LIMITED if status == 429 else ErrorKind.TRANSIENT
    what = "a redirect, which is not followed" if 300 <= status < 400 else "no JSON"
    shown = redactor.text(body[:65_536].decode(errors="replace"))
    return ProviderError(
        kind,
        f"the answer is {what}",
        status=status,
        scope="account" if kind is ErrorKind.RATE_LIMITED else None,
        response={"body": shown},
    )


def _by_status(status: int) -> ErrorKind:
    if status == 429:
        return ErrorKind.RATE_LIMITED
    return ErrorKind.PERMANENT if 400 <= status < 500 else ErrorKind.TRANSIENT


def _usage(texts: list[str]) -> Usage | None:
    percents: list[float] = []
    minutes: list[float] = []
    for text in texts:
        for entry in _entries(text):
            percents += [share for name in _SHARES if (share := _number(entry.get(name))) is not None]
            if (wait := _number(entry.get("estimated_time_to_regain_access"))) is not None and wait > 0:
                minutes.append(wait)
    if not percents and not minutes:
        return None
    regain = timedelta(minutes=min(max(minutes), 24 * 60)) if minutes else None
    return Usage(max(percents, default=0.0), regain)


def _entries(text: str) -> list[dict[str, Any]]:
    """The objects that hold figures: the header itself, or those listed in it by business id."""
    try:
        header = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return []  # a hint that cannot be read is no hint
    if (outer := _dict(header)) is None:
        return []
    found = [outer]
    for listed in list(outer.values())[:50]:
        if isinstance(listed, list):
            found += [entry for item in cast(list[object], listed)[:50] if (entry := _dict(item)) is not None]
    return found


def _dict(value: object) -> dict[str, Any] | None:
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _int(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10 else None
