"""What one process hears of a provider's limits holds for all, at the price of a statement every two seconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.connectors.test_gate import A, B, Clock, about, clocks
from tidemill.connectors import ProviderError, Scopes, SharedGate
from tidemill.engine import Budgets, Rate, Standing
from tidemill.engine.budgets import resume_budget, set_budget
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database

__all__ = ["clocks"]

MINUTES = timedelta(minutes=10)


class Watched(Budgets):
    """Counts what it asks Postgres."""

    looks = 0
    leases = 0
    away = False

    async def look(self, names: Sequence[str]) -> dict[str, Standing]:
        self.looks += 1
        if self.away:
            raise DatabaseUnavailable("away")
        return await super().look(names)

    async def spend(self, scope: str, calls: int = 1, *, within: float = 2.0) -> None:
        self.leases += 1
        await super().spend(scope, calls, within=within)


async def test_while_nothing_is_metered_calls_cost_one_look_in_two_seconds(db: Database, clocks: Clock) -> None:
    await Budgets(db, {"threads:*": None}).declare(db)
    budgets = Watched(db)
    gate = SharedGate(budgets)
    for second in range(4):
        for account in range(500):
            assert await gate.before_call(Scopes.of("threads", "1", str(account))) == 0
        assert (budgets.looks, budgets.leases) == (1 + second // 2, 0)
        await clocks.advance(1)


async def test_a_pause_of_the_app_met_by_one_process_stops_the_others_within_two_seconds(
    db: Database, clocks: Clock
) -> None:
    one, other = SharedGate(Budgets(db)), SharedGate(Budgets(db))
    assert await other.before_call(A) == 0
    await one.blocked(A.app, MINUTES, "code 4")
    await clocks.advance(2)
    with pytest.raises(ProviderError, match="code 4") as caught:
        await other.before_call(B)
    assert caught.value.scope == "app"
    await resume_budget(db, A.app)
    await clocks.advance(2)
    for gate in (one, other):
        assert await gate.before_call(A) == 0


async def test_an_account_paused_or_slowed_elsewhere_is_learnt_as_its_work_begins(db: Database, clocks: Clock) -> None:
    one, other = SharedGate(Budgets(db)), SharedGate(Budgets(db))
    assert A.account is not None
    assert B.account is not None
    await one.blocked(A.account, MINUTES, "code 17")
    await one.usage(B.account, 90, None)
    known = await Budgets(db).look([A.app, A.account, B.account])
    other.learn(A, known)
    other.learn(B, known)
    with pytest.raises(ProviderError, match="code 17"):
        await other.before_call(A)
    assert await other.before_call(B) == pytest.approx(0.5)
    other.learn(A, {})
    assert await other.before_call(A) == 0


async def test_a_rate_set_for_accounts_holds_over_processes_without_a_restart(db: Database, clocks: Clock) -> None:
    one, other = SharedGate(Budgets(db)), SharedGate(Budgets(db))
    assert await one.before_call(A) == 0
    await set_budget(db, "threads:account:*", Rate(6, 3600.0), by="ops")
    await clocks.advance(2)
    for gate in (one, other, one, other, one, other):
        assert await gate.before_call(A) == 0
        await clocks.advance(60)  # what one has in hand is worth nothing to the other
    with pytest.raises(ProviderError, match="its budget is spent") as caught:
        await one.before_call(A)
    assert caught.value.scope == "account"
    assert await one.before_call(B) == 0


async def test_a_header_lowers_a_rate_instead_of_making_each_call_wait(db: Database, clocks: Clock) -> None:
    gate = SharedGate(Budgets(db))
    assert A.account is not None
    await set_budget(db, A.account, Rate(100, 3600.0), by="ops")
    gate.learn(A, await Budgets(db).look([A.account]))
    await gate.usage(A.account, 98, None)
    for _ in range(10):
        assert await gate.before_call(A) == 0
    with pytest.raises(ProviderError, match="its budget is spent"):
        await gate.before_call(A)


async def test_a_whole_provider_paused_by_an_operator_is_not_called(db: Database, clocks: Clock) -> None:
    gate = SharedGate(Budgets(db))
    await Budgets(db).block("threads:*", MINUTES, "paused by ops")
    with pytest.raises(ProviderError, match="paused by ops") as caught:
        await gate.before_call(A)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == about(600)


async def test_what_was_known_holds_on_while_the_database_is_away(db: Database, clocks: Clock) -> None:
    budgets = Watched(db)
    gate = SharedGate(budgets)
    await gate.blocked(A.app, MINUTES, "code 4")
    budgets.away = True
    for _ in range(3):
        with pytest.raises(ProviderError, match="code 4"):
            await gate.before_call(A)
        await clocks.advance(5)
    assert budgets.looks == 3
