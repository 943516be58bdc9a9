"""A gate for the whole fleet: what one process hears of a provider's limits holds for all, through Postgres."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

import structlog

from tidemill.connectors.gate import MAX_SLOWDOWN_S, SLOW_FOR_S, MemoryGate, Scopes, paused, slowdown
from tidemill.engine import Budgets, BudgetSpent, Standing
from tidemill.engine.budgets import patterns_of
from tidemill.engine.spend import FRESH_S, slowness
from tidemill.errors import DatabaseUnavailable, InvalidInput

MOST_APPS = 1000
"""That a process remembers having looked at."""

_log = structlog.get_logger("tidemill.connectors")


class SharedGate(MemoryGate):
    """A process's own gate, kept in step with the budgets of all.

    While nothing is metered a call costs no round trip: what is known of the app, and of whole providers, is looked at
    once in every two seconds in which there are calls; an account's own state is learnt as its work begins. A scope
    with a rate, for instance by ``tidemill budgets set threads:account:* 200/h``, is spent from as every budget is.
    """

    def __init__(self, budgets: Budgets) -> None:
        super().__init__()
        self._budgets = budgets
        self._looked: dict[str, float] = {}
        """When each app was looked at."""
        self._first_look = asyncio.Lock()
        self._metered: set[str] = set()
        """Apps, accounts and patterns with a rate."""
        self._patterns: set[str] = set()
        """Those that are metered or paused: mostly none."""

    async def before_call(self, scopes: Scopes) -> float:
        """See :class:`~tidemill.connectors.Gate`. Where a rate must allow the call it waits itself, up to two seconds.

        Where the account and the app both have a rate, the account's call is spent first, and made up to two seconds
        after that.
        """
        looked = self._looked.get(scopes.app)
        if looked is None:
            async with self._first_look:
                if scopes.app not in self._looked:
                    await self._look(scopes)
        elif time.monotonic() - looked >= FRESH_S:
            self._looked[scopes.app] = time.monotonic()  # one asks; the others go by what is known
            await self._look(scopes)
        for pattern in self._patterns:
            for name in scopes:
                if name is not None and name.startswith(pattern[:-1]):
                    self._check(pattern, scopes.which(name))
        wait = await super().before_call(scopes)
        if not self._metered:
            return wait
        metered = [name for name in (scopes.account, scopes.app) if name is not None and self._is_metered(name)]
        if metered and wait:
            await asyncio.sleep(wait)
            wait = 0.0
        for name in metered:
            try:
                await self._budgets.spend(name)
            except BudgetSpent as e:
                raise paused(scopes.which(name), e.retry_after, e.reason) from None
            except InvalidInput:
                self._metered.discard(name)  # its rate was dropped a moment ago; the next look finds that too
        return wait

    async def blocked(self, scope: str, pause: timedelta, reason: str) -> None:
        """Pause a scope here and for everybody."""
        await super().blocked(scope, pause, reason)
        await self._budgets.block(scope, pause, reason)

    async def usage(self, scope: str, percent: float, regain_after: timedelta | None) -> None:
        """Slow or pause a scope here and for everybody."""
        await super().usage(scope, percent, regain_after)
        if self._is_metered(scope):
            self._slow.pop(scope, None)  # its rate is lowered instead
        share = 1.0 - slowdown(percent) / MAX_SLOWDOWN_S
        try:
            await self._budgets.lower(scope, share, timedelta(seconds=SLOW_FOR_S))
        except DatabaseUnavailable as e:
            _log.warning("slowdown_not_shared", scope=scope, error=str(e), note="it holds in this process")

    def learn(self, scopes: Scopes, known: Mapping[str, Standing]) -> None:
        """Take over what the database says of an app and an account, as work begins."""
        for name in scopes:
            if name is not None:
                self._take_over(name, known.get(name))

    async def _look(self, scopes: Scopes) -> None:
        if len(self._looked) >= MOST_APPS:
            self._looked.clear()
        patterns = {pattern for name in scopes if name is not None for pattern in patterns_of(name)}
        before, asked_at = self._paused.get(scopes.app), time.monotonic()
        try:
            known = await self._budgets.look([scopes.app, *patterns])
        except DatabaseUnavailable as e:
            _log.warning("gate_waits_for_database", error=str(e), note="what was known of the limits holds on")
            return
        finally:
            self._looked[scopes.app] = asked_at
        if self._paused.get(scopes.app) is before:  # else it was paused here meanwhile
            self._take_over(scopes.app, known.get(scopes.app))
        for pattern in patterns:
            standing = known.get(pattern)
            self._take_over(pattern, standing)
            if standing is not None and (standing.is_metered or standing.blocked_s is not None):
                self._patterns.add(pattern)
            else:
                self._patterns.discard(pattern)

    def _take_over(self, name: str, standing: Standing | None) -> None:
        self._paused.pop(name, None)
        self._slow.pop(name, None)
        self._metered.discard(name)
        if standing is None:
            return
        if standing.is_metered:
            self._metered.add(name)
        elif standing.slow_s is not None:
            self._slow_down(name, standing.slow_s, slowness(standing.share))
        if standing.blocked_s is not None:
            self._pause(name, standing.blocked_s, standing.reason or "paused")

    def _is_metered(self, name: str) -> bool:
        return name in self._metered or any(pattern in self._metered for pattern in patterns_of(name))
