"""Who is broken on purpose, how, and what an honest log must say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tidemill.cli.demo.simulator import Simulator

Outcome = tuple[str, str | None]
"""Status of an account in a run, and the reason if one is certain."""

EXPIRED: Outcome = ("skipped", "token_expired")
COMPLETED: Outcome = ("completed", None)
MISSING: Outcome = ("partial", "missing")
SHORT_LIFE_S, HALF_LIFE_S = 120, 900
"""Lives of two tokens: over before the first tick, over between the first and the second."""


@dataclass(frozen=True, slots=True)
class Part:
    """One account with a trouble.

    Attributes:
        index: which of the accounts.
        story: what is wrong, in a newcomer's words.
        outcomes: what each tick must come to.
        token_life_s: seconds its token lives; None for the provider's usual.
    """

    index: int
    story: str
    outcomes: tuple[Outcome, Outcome, Outcome]
    token_life_s: int | None = None


EXPIRED_BEFORE = Part(7, "its token expired before the first sync", (EXPIRED, EXPIRED, EXPIRED), SHORT_LIFE_S)
EXPIRES_BETWEEN = Part(
    22, "its token expires between the first sync and the second", (COMPLETED, EXPIRED, EXPIRED), HALF_LIFE_S
)
THROTTLED = Part(
    13,
    "the provider throttles it (error 17) after a few calls",
    (("partial", "rate_limited"), ("skipped", "rate_limited"), ("skipped", "rate_limited")),
)
POISONED = Part(31, "the provider refuses one of its posts (error 100)", (MISSING, MISSING, MISSING))
HICCUP = Part(46, "the provider fails once (error 2); the call is repeated", (COMPLETED, COMPLETED, COMPLETED))

PARTS = (EXPIRED_BEFORE, EXPIRES_BETWEEN, THROTTLED, POISONED, HICCUP)


@dataclass(slots=True)
class Cast:
    """All accounts by username; ``parts`` are those with a trouble."""

    usernames: list[str] = field(default_factory=list[str])
    parts: dict[str, Part] = field(default_factory=dict[str, Part])

    def expected(self, username: str, tick: int) -> Outcome:
        """What tick ``tick`` (from 0) must come to for an account."""
        part = self.parts.get(username)
        return part.outcomes[tick] if part else COMPLETED


async def script(simulator: Simulator, accounts: list[dict[str, Any]]) -> None:
    """Tell the simulator what goes wrong."""
    throttled, poisoned = accounts[THROTTLED.index]["id"], accounts[POISONED.index]["id"]
    poison = (await simulator.posts(poisoned))[0]["id"]
    throttle: dict[str, Any] = {"user": throttled, "error": {"code": 17, "message": "User request limit reached"}}
    hiccup = {"error": {"code": 2, "is_transient": True, "status": 503, "message": "Service temporarily unavailable"}}
    await simulator.fail(
        [
            {"endpoint": "post_insights", "call": [6, 1_000_000], **throttle},
            # From its second list of posts on nothing passes any more.
            {"endpoint": "posts", "call": [2, 1_000_000], **throttle},
            {"endpoint": "post_insights", "post": poison, "error": {"code": 100, "message": "Invalid parameter"}},
            {"endpoint": "posts", "user": accounts[HICCUP.index]["id"], "call": 1, **hiccup},
        ]
    )
