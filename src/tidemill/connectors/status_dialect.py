"""What an answer means by its HTTP status alone: the dialect of providers that have none of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.gate import Usage
from tidemill.connectors.redact import Redactor

_KINDS: Mapping[int, ErrorKind] = {
    400: ErrorKind.INVALID_REQUEST,
    401: ErrorKind.TOKEN_INVALID,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.INVALID_REQUEST,
    408: ErrorKind.TRANSIENT,
    410: ErrorKind.GONE,
    422: ErrorKind.INVALID_REQUEST,
    425: ErrorKind.TRANSIENT,
    429: ErrorKind.RATE_LIMITED,
}
_SAYS = ("message", "detail", "error_description", "title", "error", "errors")


class StatusDialect:
    """Reads the status, and the reason from the body where it is JSON that gives one.

    A 403 that speaks of a rate limit is one (some providers answer so). An answer of 2xx comes here when it could
    not be read: that may pass, and if it does not, it is for good.
    """

    def failure(self, status: int, body: bytes, redactor: Redactor) -> ProviderError:
        """See :class:`~tidemill.connectors.http.Dialect`."""
        answer = _decoded(body)
        said = redactor.text(_reason(answer))
        kind = _KINDS.get(status, ErrorKind.TRANSIENT if status >= 500 else ErrorKind.PERMANENT)
        becomes = None
        if 200 <= status < 300:
            kind, becomes, said = (
                ErrorKind.TRANSIENT,
                ErrorKind.PERMANENT,
                "the answer cannot be read",
            )
        elif 300 <= status < 400:
            said = "a redirect, which is not followed: give the final address"
        elif status == 403 and "rate limit" in said.lower():
            kind = ErrorKind.RATE_LIMITED
        return ProviderError(
            kind,
            said or "the provider gave no reason",
            status=status,
            scope="account" if kind is ErrorKind.RATE_LIMITED else None,
            response=None if answer is None else redactor.response(answer),
            becomes=becomes,
        )

    def usage(self, headers: Mapping[str, str]) -> Usage | None:
        """None: what such headers mean differs from one provider to the next."""
        return None


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _reason(answer: object) -> str:
    """The first text under a name that reasons usually have, at most three levels down."""
    for _ in range(3):
        if isinstance(answer, list) and answer:
            answer = cast(list[object], answer)[0]
        if not isinstance(answer, dict):
            break
        named = cast(dict[str, Any], answer)
        answer = next((named[name] for name in _SAYS if named.get(name)), None)
    return answer if isinstance(answer, str) else ""
