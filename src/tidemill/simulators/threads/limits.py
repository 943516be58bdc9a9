"""The rolling 24-hour budget of calls per user and the usage headers that tell of it."""

from __future__ import annotations

from collections import deque

import msgspec

from tidemill.simulators.threads.errors import GraphError
from tidemill.simulators.threads.knobs import Knobs

_STEP = 300
_STEPS = 288


class Budget:
    """Calls of one user in the last 24 hours, counted in steps of five minutes."""

    __slots__ = ("_steps", "used")

    def __init__(self) -> None:
        self._steps: deque[list[int]] = deque()
        self.used = 0

    def settle(self, now: int) -> None:
        """Forget what has left the window, or lies in the future because the clock was set back."""
        step = now // _STEP
        while self._steps and self._steps[0][0] <= step - _STEPS:
            self.used -= self._steps.popleft()[1]
        while self._steps and self._steps[-1][0] > step:
            self.used -= self._steps.pop()[1]

    def spend(self, now: int, calls: int = 1) -> None:
        """Count calls."""
        step = now // _STEP
        if self._steps and self._steps[-1][0] == step:
            self._steps[-1][1] += calls
        else:
            self._steps.append([step, calls])
        self.used += calls

    def seconds_to_regain(self, now: int, limit: int) -> int:
        """Seconds until fewer than `limit` calls lie in the window; 0 if that is so now."""
        over = self.used - limit
        for step, calls in self._steps:
            if over < 0:
                return 0
            over -= calls
            if over < 0:
                return (step + _STEPS) * _STEP - now
        return 0


class Limits:
    """The budgets of all users."""

    def __init__(self) -> None:
        self._budgets: dict[str, Budget] = {}

    def budget(self, user: str, now: int) -> Budget:
        """The user's budget as of now."""
        budget = self._budgets.get(user)
        if budget is None:
            budget = self._budgets[user] = Budget()
        budget.settle(now)
        return budget

    def set_used(self, user: str, now: int, used: int) -> None:
        """Pretend the user made `used` calls in this moment and none before."""
        budget = self._budgets[user] = Budget()
        budget.spend(now, used)


def charge(budget: Budget, now: int, knobs: Knobs) -> None:
    """Count one call. Raises the throttle error, uncounted, when the budget is spent."""
    if budget.used >= knobs.budget:
        transient = True if knobs.throttle_transient else None
        raise GraphError(knobs.throttle_code, "Request limit reached", is_transient=transient)
    budget.spend(now)


def usage_headers(user: str, budget: Budget, now: int, knobs: Knobs) -> dict[str, str] | None:
    """The headers that tell how much of the budget is spent; None as long as the provider keeps silent."""
    percent = budget.used * 100 // max(1, knobs.budget)
    if percent < knobs.usage_header_from:
        return None
    wait = budget.seconds_to_regain(now, knobs.budget)
    usage: dict[str, object] = {"call_count": percent, "total_cputime": percent // 2, "total_time": percent * 2 // 3}
    headers: dict[str, str] = {}
    if knobs.usage_header in ("app", "both"):
        headers["X-App-Usage"] = _json(usage)
    if knobs.usage_header in ("business", "both"):
        line = {"type": "threads", **usage, "estimated_time_to_regain_access": -(-wait // 60)}
        headers["X-Business-Use-Case-Usage"] = _json({user: [line]})
    if knobs.retry_after and wait:
        headers["Retry-After"] = str(wait)
    return headers


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
