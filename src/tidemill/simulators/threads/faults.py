"""The fault script: rules that make chosen calls fail in a chosen way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import msgspec

from tidemill.simulators.threads.data import Account
from tidemill.simulators.threads.errors import GraphError

ENDPOINTS = (
    "me",
    "posts",
    "post",
    "post_insights",
    "account_insights",
    "publishing_limit",
    "authorize",
    "token.code",
    "token.exchange",
    "token.refresh",
    "token.app",
    "debug_token",
)
"""What a rule may name; `token` stands for all four `token.…`, `*` for everything."""

Mischief = Literal[
    "html_502",
    "truncated_json",
    "not_json",
    "slow_body",
    "hang",
    "reset",
    "reset_after_commit",
    "huge_body",
    "empty",
    "redirect",
]


class FaultError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error answer in the Graph envelope; without `status` the knobs decide the HTTP status."""

    code: int
    subcode: int | None = None
    status: int | None = None
    is_transient: bool | None = None
    message: str = "Scripted error"
    type: str = "OAuthException"

    def exception(self) -> GraphError:
        """The same as what an endpoint raises."""
        return GraphError(
            self.code,
            self.message,
            subcode=self.subcode,
            kind=self.type,
            is_transient=self.is_transient,
            status=self.status,
        )


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. The first rule of the script that fits a call decides it.

    `endpoint`, `user` (id or username) and `post` (id) choose the calls. Of these `call` picks one, counted from 1, or
    [from, to]; without it every one. `times` ends the rule after so many. What happens is either `error`, or `kind`:

    - html_502: a gateway's page; not_json: 200 and plain words; empty: 200 and nothing
    - truncated_json: the right answer cut in half; huge_body: valid JSON of `bytes` bytes
    - slow_body: the right answer, spread over `seconds`; hang: no answer for `seconds`, then a reset
    - reset: the connection breaks, nothing was done; reset_after_commit: it was done, and the answer is lost
    - redirect: 302 to `location`

    `headers` are added to the answer.
    """

    endpoint: str = "*"
    user: str | None = None
    post: str | None = None
    call: int | tuple[int, int] | None = None
    times: int | None = None
    error: FaultError | None = None
    kind: Mischief | None = None
    headers: dict[str, str] = {}
    seconds: float = 30.0
    bytes: int = 64 * 1024 * 1024
    location: str = "http://127.0.0.1:9/elsewhere"

    def __post_init__(self) -> None:
        if (self.error is None) == (self.kind is None):
            raise ValueError("a fault has either an error or a kind")
        if self.endpoint not in ("*", "token", *ENDPOINTS):
            raise ValueError(f"no endpoint {self.endpoint!r}; there are *, token, {', '.join(ENDPOINTS)}")

    def fits(self, endpoint: str, account: Account | None, post: str | None) -> bool:
        """Whether the rule speaks of a call, its number aside."""
        if self.endpoint != "*" and endpoint != self.endpoint and endpoint.partition(".")[0] != self.endpoint:
            return False
        if self.post is not None and self.post != post:
            return False
        return self.user is None or (account is not None and self.user in (account.id, account.username))


class FaultScript:
    """The rules in force and how often each has met and fired."""

    def __init__(self, rules: Iterable[Fault] = ()) -> None:
        self._armed = [_Armed(rule) for rule in rules]

    def __len__(self) -> int:
        return len(self._armed)

    def add(self, rules: Iterable[Fault]) -> None:
        """Put rules behind those in force."""
        self._armed.extend(_Armed(rule) for rule in rules)

    def clear(self) -> None:
        """Drop every rule."""
        self._armed.clear()

    def strike(self, endpoint: str, account: Account | None, post: str | None) -> Fault | None:
        """The fault a call meets, if any; counts the call for every rule that fits it."""
        struck: Fault | None = None
        for armed in self._armed:
            if armed.rule.fits(endpoint, account, post) and armed.due() and struck is None:
                armed.fired += 1
                struck = armed.rule
        return struck

    def report(self) -> list[dict[str, object]]:
        """Every rule with `met` (calls that fitted) and `fired`."""
        return [{"rule": msgspec.to_builtins(a.rule), "met": a.met, "fired": a.fired} for a in self._armed]


def read_faults(raw: Any) -> list[Fault]:
    """Rules from decoded JSON, a list or one rule. Raises ValueError that says which field is wrong."""
    rules = cast("list[Any]", raw) if isinstance(raw, list) else [raw]
    return [rule if isinstance(rule, Fault) else msgspec.convert(rule, Fault) for rule in rules]


class _Armed:
    __slots__ = ("fired", "met", "rule")

    def __init__(self, rule: Fault) -> None:
        self.rule, self.met, self.fired = rule, 0, 0

    def due(self) -> bool:
        """Count a fitting call and say whether the rule wants it."""
        self.met += 1
        if self.rule.times is not None and self.fired >= self.rule.times:
            return False
        call = self.rule.call
        if call is None:
            return True
        first, last = (call, call) if isinstance(call, int) else call
        return first <= self.met <= last
