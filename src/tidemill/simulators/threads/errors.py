"""The provider's two error envelopes and the HTTP statuses they come with."""

from __future__ import annotations

from tidemill.simulators.threads.dice import roll
from tidemill.simulators.threads.knobs import Knobs

_ALL = {"all_400": 400, "all_403": 403, "all_429": 429, "all_500": 500}
_THROTTLES = frozenset({4, 17, 32, 341, 613})


class GraphError(Exception):
    """An error in the Graph envelope; `status` None leaves the HTTP status to the knobs."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        subcode: int | None = None,
        kind: str = "OAuthException",
        is_transient: bool | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.subcode, self.message, self.kind = code, subcode, message, kind
        self.is_transient, self.status = is_transient, status

    def body(self) -> dict[str, object]:
        """The envelope; the trace id is a function of the error, so that equal errors are equal bytes."""
        error: dict[str, object] = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.is_transient is not None:
            error["is_transient"] = self.is_transient
        error["fbtrace_id"] = f"A{roll(self.code, self.subcode or 0, *self.message.encode()):016x}"
        return {"error": error}


class ExchangeError(Exception):
    """An error of the code exchange: a flat envelope, whose `code` is an HTTP status and no Graph code."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def body(self) -> dict[str, object]:
        """The envelope."""
        return {"error_type": "OAuthException", "code": 400, "error_message": self.message}


def invalid(message: str) -> GraphError:
    """A parameter is wrong: code 100."""
    return GraphError(100, f"(#100) {message}")


def missing_object(name: str) -> GraphError:
    """An object that is not there or not this token's to see: code 100, subcode 33."""
    return GraphError(
        100,
        f"Unsupported get request. Object with ID '{name}' does not exist or the token may not see it.",
        subcode=33,
        kind="GraphMethodException",
    )


def unknown_path() -> GraphError:
    """No such endpoint: code 2500."""
    return GraphError(2500, "Unknown path components")


def http_status(knobs: Knobs, code: int) -> int:
    """The HTTP status of a Graph error code."""
    chosen = knobs.status_by_code.get(code) or _ALL.get(knobs.status)
    if chosen:
        return chosen
    if code in (1, 2):
        return 500
    if code in _THROTTLES or 80_000 <= code <= 80_014 or code in (3, 10) or 200 <= code <= 299:
        return 403
    return 400
