"""Calls to the outside, spent from budgets that hold over the whole fleet.

A process leases a few calls at a time from Postgres and spends them by itself: no call costs a round trip, and no
process asks more often than it has to. What it leased counts from that moment, whatever becomes of it; it may be spent
for a twentieth of the budget's window, at most two seconds, and is then worth nothing. So a process that dies takes no
more than that with it.

Calls are let through exactly: at most as many in any span of the window's length as the budget says, by the database's
clock. In return up to a tenth of a budget that is always wanted in full is not given out. One exception is left. Who
asked for a call makes it even if Postgres took longer to answer than the call was good for: else a slow database would
let none pass.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from types import MappingProxyType
from typing import Any

import structlog

from tidemill.engine.budgets import (
    LONGEST_PAUSE,
    LONGEST_REASON,
    Rate,
    check_scope,
    declare_budgets,
    patterns_of,
)
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput, TidemillError
from tidemill.postgres import Database

SHORT_WAIT_S = 2.0
"""What a call waits for its turn, at most, before its job is put off."""
FRESH_S = 2.0
"""How long what is known of a scope whose calls are not counted is good for; so a pause is learnt within it."""
SLOWEST_S = 1.0
"""What a call waits that is not counted, where the provider says that next to nothing is left."""
MOST_AT_A_TIME = 20
"""Calls of one lease, unless more are needed at once."""
LONGEST_LINE_S = 900.0
"""How long the line of jobs that must wait may get; then it begins anew beside itself, and some will ask in vain."""
_MOST_SCOPES = 10_000

_log = structlog.get_logger("tidemill.engine")


class BudgetSpent(TidemillError):
    """A call may not be made now. A job that lets it pass is put off until it may, which spends no attempt.

    Attributes:
        scope: whose budget it is.
        retry_after: how long to wait.
        reason: why, for people.
    """

    def __init__(self, scope: str, retry_after: timedelta, reason: str) -> None:
        super().__init__(f"no calls of {scope} for {retry_after.total_seconds():.1f} s: {reason}")
        self.scope = scope
        self.retry_after = retry_after
        self.reason = reason

    def __reduce__(self) -> tuple[type[BudgetSpent], tuple[str, timedelta, str]]:
        return BudgetSpent, (self.scope, self.retry_after, self.reason)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of a scope or pattern.

    Attributes:
        is_metered: whether its calls are counted.
        blocked_s, reason: for how many more seconds it is paused, and why.
        share, slow_s: the part of the budget that may be used, and for how many more seconds.
    """

    is_metered: bool
    blocked_s: float | None
    reason: str | None
    share: float | None
    slow_s: float | None


@dataclass(frozen=True, slots=True)
class _Refusal:
    asked_at: float
    until: float
    call_s: float
    reason: str


class _Chunk:
    """Calls of one scope that this process may make."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.patterns = patterns_of(scope)
        self.lock = asyncio.Lock()
        self.left = 0.0
        self.size = 0.0
        self.per_second = 1.0
        self.good_until = 0.0
        self.slow_s = 0.0
        self.wanted = 0
        """By those who wait."""
        self.refusal: _Refusal | None = None
        self.last_in_line = 0.0

    def take(self, calls: int) -> bool:
        if self.left >= calls and time.monotonic() < self.good_until:
            self.left -= calls
            return True
        return False

    def to_lease(self) -> int:
        """As many as are waited for; or twice as many as last time if those were all spent in time, else what was spent
        of them, but no more than a second's worth."""
        soon = self.size * 2 if self.left == 0 and time.monotonic() < self.good_until else self.size - self.left
        return int(min(max(self.wanted, min(soon, self.per_second)), MOST_AT_A_TIME))

    def refused(self, calls: int, refusal: _Refusal) -> BudgetSpent:
        """The answer to who gets nothing now. Those who must wait stand in line, so that they do not all come back
        at once to find that one of them may go."""
        now = time.monotonic()
        place = max(self.last_in_line, refusal.until)
        if place > refusal.until + LONGEST_LINE_S:
            place = refusal.until
        self.last_in_line = place + calls * refusal.call_s
        wait = max(place - now, 0.0)
        wait += random.uniform(0.001, 0.01 + min(wait / 20, 5.0))  # noqa: S311 - processes do not know each other's lines
        return BudgetSpent(self.scope, timedelta(seconds=wait), refusal.reason)


class Budgets:
    """The budgets as one process spends them.

    Args:
        db: each lease is a statement of its own on it.
        declared: those that stand in the application's code.
    """

    def __init__(self, db: Database, declared: Mapping[str, Rate | None] = MappingProxyType({})) -> None:
        self._db = db
        self.declared = declared
        self._chunks: dict[str, _Chunk] = {}
        self._told: dict[str, tuple[float, float]] = {}

    async def declare(self, db: Database) -> None:
        """Make what stands in code known to the database; what an operator set stands."""
        await declare_budgets(db, self.declared)

    async def spend(self, scope: str, calls: int = 1, *, within: float = SHORT_WAIT_S) -> None:
        """Make room for calls that are made right after this; wait for it at most ``within`` seconds, and at most 2.

        A pause that another process met is learnt within 2 seconds.

        Raises:
            BudgetSpent: they cannot be made yet.
            InvalidInput: no budget is declared or set for the scope, or it never has room for so many calls.
            DatabaseUnavailable: the calls leased before are spent, and Postgres does not answer.
        """
        if type(calls) is not int or calls < 1:
            raise InvalidInput("calls", f"{calls!r} is no whole number from 1 on")
        chunk = self._chunks.get(check_scope(scope))
        if chunk is None:
            chunk = self._chunk(scope)
        if chunk.lock.locked() or not chunk.take(calls):
            await self._wait_for(chunk, calls, time.monotonic() + min(within, SHORT_WAIT_S))
        if chunk.slow_s:
            await asyncio.sleep(min(chunk.slow_s, within))

    async def block(self, scope: str, pause: timedelta, reason: str, *, known: bool = False) -> None:
        """Let no call of a scope pass for so long, in the whole fleet; a longer pause in force stays.

        Args:
            scope: also one that ends in ``:*``, for all with that prefix.
            pause: from now on, by the database's clock.
            reason: for people.
            known: whether the scope must be one that somebody declared or set.

        Raises:
            InvalidInput: naming what cannot be taken.
        """
        check_scope(scope, or_pattern=True)
        said = _reason(reason)
        if type(pause) is not timedelta or not timedelta(0) < pause <= LONGEST_PAUSE:
            raise InvalidInput("pause", f"{pause!r} is no timedelta above 0 and up to {LONGEST_PAUSE.days} days")
        names = [scope, *patterns_of(scope)] if known else None
        if not await self._db.fetchval(SQL.budget_block, scope, pause, said, names):
            raise _unknown(scope)
        for name in [scope] if not scope.endswith("*") else list(self._chunks):
            if (chunk := self._chunks.get(name)) is not None and name.startswith(scope.removesuffix("*")):
                chunk.left = 0
        _log.warning("scope_paused", scope=scope, seconds=round(pause.total_seconds()), reason=said)

    async def lower(self, scope: str, share: float, lasting: timedelta) -> None:
        """Let only a share of a scope's budget pass for a while: its provider says how little is left of its own.

        Calls that are not counted are made to wait instead, up to a second. Nothing is ever raised above what is
        declared or set. Said again and again, it is written when it has changed by a tenth, or half its time is over.

        Args:
            scope: whose budget.
            share: from 0 to 1; 1 takes back what was said before.
            lasting: after which all of it may be used again, unless it is said again.
        """
        now = time.monotonic()
        known, since = self._told.get(scope, (1.0, now))
        if abs(known - share) < 0.1 and (share >= 1 or known >= 1 or now - since < lasting.total_seconds() / 2):
            return
        self._told.pop(scope, None)
        if share < 1:
            _make_room(self._told)
            self._told[scope] = share, now  # before the answer: of many calls side by side one tells
        try:
            await self._db.execute(SQL.budget_slow, scope, max(share, 0.05) if share < 1 else None, lasting)
        except BaseException:
            self._told.pop(scope, None)
            raise

    async def look(self, names: Sequence[str]) -> dict[str, Standing]:
        """What is known of those scopes and patterns that anything is known of."""
        rows = await self._db.fetch(SQL.budget_look, list(names))
        return {scope: Standing(*said) for scope, *said in rows}

    def _chunk(self, scope: str) -> _Chunk:
        _make_room(self._chunks)
        chunk = self._chunks[scope] = _Chunk(scope)
        return chunk

    async def _wait_for(self, chunk: _Chunk, calls: int, until: float) -> None:
        """Lease calls, one round trip at a time; whoever comes meanwhile is served with the same answer."""
        arrived = time.monotonic()
        chunk.wanted += calls
        try:
            async with chunk.lock:
                while not chunk.take(calls):
                    no = chunk.refusal
                    if no is None or no.asked_at < arrived:
                        no = await self._lease(chunk, calls)
                    if no is None:
                        return
                    if no.until > until:
                        raise chunk.refused(calls, no)
                    await asyncio.sleep(no.until - time.monotonic())
                    arrived = time.monotonic()  # so that it asks again
        finally:
            chunk.wanted -= calls

    async def _lease(self, chunk: _Chunk, calls: int) -> _Refusal | None:
        """One round trip. None: the calls may be made, and what is left of the chunk by whoever comes next."""
        asked_at = time.monotonic()
        row = await self._db.fetchrow(SQL.budget_lease, chunk.scope, chunk.patterns, calls, chunk.to_lease())
        assert row is not None  # noqa: S101 - the function always answers with a row
        chunk.left, chunk.size, chunk.slow_s, chunk.refusal = 0.0, 0.0, 0.0, None
        if not row["is_known"]:
            self._chunks.pop(chunk.scope, None)
            raise _unknown(chunk.scope)
        most: int | None = row["most"]
        if most is not None and calls > most:
            raise InvalidInput("calls", f"{calls} at once; the budget of {chunk.scope!r} never allows more than {most}")
        if row["blocked_s"] is None and most is None:
            chunk.left, chunk.good_until = inf, asked_at + FRESH_S
            chunk.slow_s = slowness(row["share"])
            return None
        if row["granted"]:
            chunk.size, chunk.per_second = row["granted"], most / row["per_s"]
            chunk.left, chunk.good_until = chunk.size - calls, asked_at + row["good_s"]
            return None
        paused: float | None = row["blocked_s"]
        chunk.refusal = _Refusal(
            asked_at,
            time.monotonic() + (row["wait_s"] if paused is None else paused),
            0.0 if most is None else row["per_s"] / most,
            "its budget is spent" if paused is None else f"paused: {row['reason']}",
        )
        return chunk.refusal


def slowness(share: float | None) -> float:
    """Seconds that each call waits where calls are not counted and so much of the provider's own budget is left."""
    return (1.0 - (1.0 if share is None else share)) * SLOWEST_S


def _reason(reason: object) -> str:
    """What Postgres can store of it."""
    if not isinstance(reason, str):
        raise InvalidInput("reason", f"{reason!r} is no text")
    return reason.replace("\0", "\ufffd")[:LONGEST_REASON].encode("utf-8", "replace").decode("utf-8")


def _unknown(scope: str) -> InvalidInput:
    return InvalidInput(
        "scope", f"no budget is declared for {scope!r}; declare it with app.budget, or: tidemill budgets set"
    )


def _make_room(known: dict[str, Any]) -> None:
    """Forget the oldest entry of a full table; what was leased for it is lost."""
    if len(known) >= _MOST_SCOPES:
        del known[next(iter(known))]
