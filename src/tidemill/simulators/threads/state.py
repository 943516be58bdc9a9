"""What one simulator holds, and what one call to it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidemill.simulators.threads.clock import VirtualClock
from tidemill.simulators.threads.cursors import Cursors
from tidemill.simulators.threads.data import Account, World
from tidemill.simulators.threads.errors import GraphError
from tidemill.simulators.threads.faults import FaultScript
from tidemill.simulators.threads.knobs import Knobs
from tidemill.simulators.threads.limits import Limits
from tidemill.simulators.threads.tokens import Token, TokenStore


class Calls:
    """Counts provider calls by endpoint and user; the control door is not counted."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self.in_flight = 0
        self.most_in_flight = 0

    def count(self, endpoint: str, user: str) -> None:
        """One more call."""
        key = (endpoint, user)
        self._counts[key] = self._counts.get(key, 0) + 1

    def of(self, endpoint: str | None = None, user: str | None = None) -> int:
        """Calls so far, of an endpoint and of a user id ("-" where the call had no known user)."""
        return sum(n for (e, u), n in self._counts.items() if endpoint in (None, e) and user in (None, u))

    def report(self) -> dict[str, object]:
        """All counters."""
        by_endpoint: dict[str, int] = {}
        by_user: dict[str, dict[str, int]] = {}
        for (endpoint, user), count in sorted(self._counts.items()):
            by_endpoint[endpoint] = by_endpoint.get(endpoint, 0) + count
            by_user.setdefault(user, {})[endpoint] = count
        return {
            "total": self.of(),
            "by_endpoint": by_endpoint,
            "by_user": by_user,
            "most_in_flight": self.most_in_flight,
        }


@dataclass(slots=True)
class State:
    """Everything a simulator knows."""

    seed: int
    app_id: str
    app_secret: str
    clock: VirtualClock
    world: World
    cursors: Cursors
    knobs: Knobs
    tokens: TokenStore
    faults: FaultScript
    limits: Limits = field(default_factory=Limits)
    calls: Calls = field(default_factory=Calls)
    url: str = ""


@dataclass(slots=True)
class Call:
    """One request, as far as it is understood before an endpoint sees it.

    `node` is what the path names: `me`, a user's id or a post's id. `account` is whom the token (or code) belongs to.
    """

    endpoint: str
    node: str
    params: Mapping[str, str]
    token_text: str | None
    token: Token | None
    account: Account | None
    now: int


def authorize(state: State, call: Call, scope: str) -> Account:
    """The account the call's token speaks for. Raises the provider's errors for a bad token or a lacking scope."""
    if call.token_text is None:
        raise GraphError(104, "An access token is required to request this resource.")
    token = state.tokens.check(call.token, call.now)
    if token.account is None:
        raise GraphError(190, "A user access token is needed, this is an app's.")
    for needed in ("threads_basic", scope):
        if needed not in token.scopes:
            raise GraphError(10, f"(#10) Application does not have permission for this action: {needed} is needed")
    return token.account
