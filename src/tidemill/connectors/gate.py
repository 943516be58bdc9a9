"""Who may call now: pausing and slowing an app's or an account's calls."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from tidemill.connectors.errors import ErrorKind, ProviderError, ScopeName

SLOW_FROM = 80.0
"""Per cent of a budget from which calls are slowed."""
MAX_SLOWDOWN_S = 1.0
"""What a call waits just below 100 %; it grows in proportion from 0 at :data:`SLOW_FROM`."""
FIRST_PAUSE = timedelta(minutes=1)
SLOW_FOR_S = 60.0
"""A slowdown ends when no header has repeated it for so long: providers stop sending them as usage falls."""
LONGEST_BACKOFF = timedelta(hours=1)
LONGEST_PAUSE = timedelta(hours=24)
"""No header may pause a scope for longer; the longest window a provider documents is a rolling day."""
_MAX_SCOPES = 10_000


class Scopes(NamedTuple):
    """The budgets a call counts against, by name. ``account`` is None while nobody is known (OAuth)."""

    app: str
    account: str | None = None

    @classmethod
    def of(cls, provider: str, app: str, account: str | None = None) -> Scopes:
        """``threads:app:42`` and ``threads:account:42:1784…``: limits count per app and user, not per user alone."""
        return cls(f"{provider}:app:{app}", None if account is None else f"{provider}:account:{app}:{account}")

    def named(self, scope: ScopeName) -> str | None:
        """The name of the app's or the account's budget."""
        return self.app if scope == "app" else self.account

    def which(self, name: str) -> ScopeName:
        """Whether ``name`` is the app's budget or the account's."""
        return "app" if name == self.app else "account"


class Usage(NamedTuple):
    """What a provider's headers say of a budget: per cent used, and how long until calls are taken again."""

    percent: float
    regain_after: timedelta | None


class Gate(Protocol):
    """Stands before every call. One that spans processes keeps a local copy, so that asking costs no round trip."""

    async def before_call(self, scopes: Scopes) -> float:
        """Seconds to wait before this call, 0 to go at once.

        Raises:
            ProviderError: ``RATE_LIMITED`` with scope and ``retry_after`` when one of the scopes is paused.
        """
        ...

    async def blocked(self, scope: str, pause: timedelta, reason: str) -> None:
        """The provider refused calls of this scope: let none pass for ``pause``. A longer pause in force stays.

        A duration, not an instant, because the clock that counts is the database's.
        """
        ...

    async def usage(self, scope: str, percent: float, regain_after: timedelta | None) -> None:
        """A header told how full this scope's budget is: from 80 % slow its calls, from 100 % pause them."""
        ...


class _Pause(NamedTuple):
    until: float
    reason: str


class _Slowdown(NamedTuple):
    until: float
    wait: float


class MemoryGate:
    """A gate within one process.

    From 80 % of a budget on, each call of that scope waits ``(percent - 80) / 20`` of a second, so one account's ten
    calls side by side come down to ten a second as 100 % comes near; at 100 % the scope pauses for as long as the
    header says, or a minute. Below 80 % a call costs one look into two empty dicts.
    """

    def __init__(self) -> None:
        self._paused: dict[str, _Pause] = {}
        self._slow: dict[str, _Slowdown] = {}

    async def before_call(self, scopes: Scopes) -> float:
        """See :class:`Gate`."""
        if self._paused:
            for name in scopes:
                if name is not None:
                    self._check(name, scopes.which(name))
        return max(map(self._wait, scopes)) if self._slow else 0.0

    async def blocked(self, scope: str, pause: timedelta, reason: str) -> None:
        """See :class:`Gate`."""
        self._pause(scope, pause.total_seconds(), reason)

    async def usage(self, scope: str, percent: float, regain_after: timedelta | None) -> None:
        """See :class:`Gate`."""
        if percent >= 100:
            await self.blocked(scope, regain_after or FIRST_PAUSE, f"usage {percent:.0f} %")
        if (wait := slowdown(percent)) > 0:
            self._slow_down(scope, SLOW_FOR_S, wait)
        else:
            self._slow.pop(scope, None)

    def _check(self, name: str, which: ScopeName) -> None:
        if (pause := self._paused.get(name)) is not None:
            left = pause.until - time.monotonic()
            if left > 0:
                raise paused(which, timedelta(seconds=left), pause.reason)
            del self._paused[name]

    def _pause(self, scope: str, seconds: float, reason: str) -> None:
        until = time.monotonic() + seconds
        known = self._paused.get(scope)
        if known is None or known.until < until:
            _make_room(self._paused)
            self._paused[scope] = _Pause(until, reason)

    def _slow_down(self, scope: str, seconds: float, wait: float) -> None:
        _make_room(self._slow)
        self._slow[scope] = _Slowdown(time.monotonic() + seconds, wait)

    def _wait(self, name: str | None) -> float:
        if name is None or (slow := self._slow.get(name)) is None:
            return 0.0
        if slow.until <= time.monotonic():
            del self._slow[name]
            return 0.0
        return slow.wait


class Strikes:
    """The backoff of a provider that does not say how long: a minute, doubled each time a pause did not help.

    A scope's count starts anew once it has run for as long as it was last paused. Failures of calls that were
    already under way when the pause began do not count again.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float, float]] = {}

    def next_pause(self, scope: str, told: timedelta | None) -> timedelta:
        """How long to pause ``scope`` now: what the provider told or our backoff, whichever is longer."""
        now = time.monotonic()
        count, until, length = self._last.get(scope, (0, 0.0, 0.0))
        if now >= until:
            count = count + 1 if now < until + length else 1
        backoff = min(FIRST_PAUSE.total_seconds() * 2 ** min(count - 1, 10), LONGEST_BACKOFF.total_seconds())
        pause = max(backoff * random.uniform(1.0, 1.25), told.total_seconds() if told else 0.0)  # noqa: S311
        pause = min(pause, LONGEST_PAUSE.total_seconds())
        if now + pause > until:
            _make_room(self._last)
            self._last[scope] = (count, now + pause, pause)
        return timedelta(seconds=pause)


def slowdown(percent: float) -> float:
    """Seconds that a call waits when ``percent`` of its budget is used."""
    if percent < SLOW_FROM:
        return 0.0
    return min((percent - SLOW_FROM) / (100 - SLOW_FROM), 1.0) * MAX_SLOWDOWN_S


def paused(scope: ScopeName, left: timedelta, reason: str) -> ProviderError:
    """The error of a call that was not made because its scope is paused."""
    seconds = max(1, round(left.total_seconds()))
    message = f"not called: the {scope}'s calls are paused for {seconds} s more ({reason})"
    return ProviderError(ErrorKind.RATE_LIMITED, message, retry_after=left, scope=scope)


def _make_room(known: dict[str, Any]) -> None:
    """Forget the oldest entry of a full table; a scope forgotten too early is paused again by its next refusal."""
    if len(known) >= _MAX_SCOPES:
        del known[next(iter(known))]
