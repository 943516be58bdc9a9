"""A provider's limits: a pause holds for later runs and for the whole fleet, and costs no attempt."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.sync.support import SLOT, World, refusal, world
from tidemill.engine import Rate
from tidemill.engine.budgets import set_budget
from tidemill.engine.statements import SQL
from tidemill.postgres import pool
from tidemill.simulators.threads import Account

SKIPPED = [("skipped", "rate_limited")] * 3
COMPLETED = [("completed", None)] * 3


async def _left(w: World, name: str) -> timedelta | None:
    """How long a scope is paused from now on."""
    return await w.db.fetchval("select blocked_until - tidemill.now() from tidemill.budget where scope = $1", name)


def _scope(w: World, account: Account) -> str:
    return f"threads:account:{w.sim.app_id}:{account.id}"


async def _assert_no_attempt_was_spent(w: World) -> None:
    attempts = await w.attempts()
    assert {attempt for attempt, _ in attempts} == {1}
    assert not {"retry", "dead", "crashed"} & {outcome for _, outcome in attempts}


async def test_a_pause_told_by_the_provider_is_kept_by_later_runs_and_ends_with_its_time(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=2) as w:
        throttled, *others = w.sim.accounts
        w.sim.faults.add([refusal(17, user=throttled, times=1, headers={"Retry-After": "2000"})])
        state = await w.run()
        assert await w.said(state.run_id, w.ids[throttled.id]) == SKIPPED
        row = (await w.rows(state.run_id))[w.ids[throttled.id]]["sync_posts"]
        assert row.metadata["api_response"]["error"]["code"] == 17
        left = await _left(w, _scope(w, throttled))
        assert left is not None
        assert timedelta(seconds=1900) < left <= timedelta(seconds=2000)

        made = w.sim.calls.of(user=throttled.id)
        assert made == 1
        for _ in range(2):  # 15 and 30 minutes later: 2000 seconds are not over
            state = await w.tick()
            assert await w.said(state.run_id, w.ids[throttled.id]) == SKIPPED
            assert (state.status, state.success_count, state.skipped_count) == ("completed", 2, 1)
            assert w.sim.calls.of(user=throttled.id) == made
        state = await w.tick()
        assert await w.said(state.run_id, w.ids[throttled.id]) == COMPLETED
        assert (state.status, state.success_count) == ("completed", 3)
        for account in others:
            assert await w.snapshots(w.ids[account.id]) == 2
        await _assert_no_attempt_was_spent(w)


async def test_without_a_word_of_the_provider_the_account_rests_a_minute(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=2) as w:
        [account] = w.sim.accounts
        w.sim.faults.add([refusal(613, user=account, times=1)])
        await w.run()
        made = w.sim.calls.of(user=account.id)
        await w.set_clocks(w.now + timedelta(seconds=30))
        state = await w.run(own_slot=True)
        assert state.status == "skipped"
        assert w.sim.calls.of(user=account.id) == made
        await w.set_clocks(w.now + timedelta(seconds=60))
        state = await w.run(own_slot=True)
        assert await w.said(state.run_id, w.ids[account.id]) == COMPLETED
        await _assert_no_attempt_was_spent(w)


async def test_a_pause_of_the_app_holds_for_all_its_accounts_until_it_ends(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=2, accounts_at_once=1) as w:
        by_id = {w.ids[account.id]: account for account in w.sim.accounts}
        first = by_id[min(by_id)]
        w.sim.faults.add([refusal(4, user=first, times=1, headers={"Retry-After": "1000"})])
        state = await w.run()
        assert (state.status, state.skipped_count) == ("skipped", 3)
        assert w.sim.calls.of() == 1
        state = await w.tick()
        assert (state.status, state.skipped_count) == ("skipped", 3)
        assert w.sim.calls.of() == 1
        state = await w.tick()
        assert (state.status, state.success_count) == ("completed", 3)
        await _assert_no_attempt_was_spent(w)


async def test_a_pause_set_by_another_process_is_learnt_before_the_first_call(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        paused, free = w.sim.accounts
        await w.app.engine.budgets.block(_scope(w, paused), timedelta(minutes=20), "told elsewhere")
        state = await w.run()
        assert await w.said(state.run_id, w.ids[paused.id]) == SKIPPED
        assert await w.said(state.run_id, w.ids[free.id]) == COMPLETED
        assert w.sim.calls.of(user=paused.id) == 0
        # Lifted by hand, there as well as in this process's own memory.
        await w.db.execute("delete from tidemill.budget")
        state = await w.tick()
        assert await w.said(state.run_id, w.ids[paused.id]) == COMPLETED


async def test_a_budget_used_up_by_its_header_pauses_the_account_before_it_is_refused(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=2) as w:
        await w.run()
        for header, account in zip(("app", "business"), w.sim.accounts, strict=False):
            w.sim.turn(usage_header=header, budget=1000)
            w.sim.state.limits.set_used(account.id, w.sim.clock.now(), 999)
            made = w.sim.calls.of(user=account.id)
            state = await w.tick()
            said = await w.said(state.run_id, w.ids[account.id])
            # The call that spent the budget still answered; nothing was asked after it.
            assert said == [("partial", "rate_limited"), ("skipped", "rate_limited"), ("skipped", "rate_limited")]
            assert w.sim.calls.of(user=account.id) == made + 1
            left = await _left(w, _scope(w, account))
            assert left is not None
            assert left > (timedelta(hours=1) if header == "business" else timedelta(seconds=30))
            others = {r["status"] for r in state.results if r["username"] not in (account.username,)}
            assert "completed" in others
        await _assert_no_attempt_was_spent(w)


async def test_a_throttle_amid_the_posts_keeps_what_was_read_and_stops_the_rest(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=30) as w:
        [account] = w.sim.accounts
        w.sim.faults.add([refusal(17, endpoint="post_insights", user=account, call=(21, 10_000))])
        state = await w.run()
        rows = (await w.rows(state.run_id))[w.ids[account.id]]
        assert [row.said for row in rows.values()] == [
            ("completed", None),
            ("partial", "rate_limited"),
            ("skipped", "rate_limited"),
        ]
        kept = await w.snapshots(w.ids[account.id])
        assert 10 <= kept <= 20
        assert rows["sync_metrics"].metadata["metrics_updated"] == kept
        w.sim.faults.clear()
        # What was not got is due in the next slot, as is all the rest.
        state = await w.tick()
        assert await w.said(state.run_id, w.ids[account.id]) == COMPLETED
        assert await w.snapshots(w.ids[account.id]) == 30


async def test_an_account_whose_owner_must_act_is_asked_again_after_hours_and_recovers(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        w.sim.faults.add([refusal(190, 459, user=account, times=1)])
        state = await w.run()
        assert (await w.said(state.run_id, mine))[0] == ("failed", "user_action")
        made = w.sim.calls.of(user=account.id)
        state = await w.tick()
        assert await w.said(state.run_id, mine) == [("skipped", "user_action")] * 3
        assert w.sim.calls.of(user=account.id) == made
        assert len(w.events("needs_reauth")) == 1
        state = await w.tick(at=w.now + timedelta(hours=6))
        assert await w.said(state.run_id, mine) == COMPLETED
        row: Any = await w.account(mine)
        assert (row["token_status"], row["token_status_reason"], row["reauth_told_at"]) == ("valid", None, None)
        assert w.now - row["token_status_at"] < SLOT


async def test_while_nothing_is_metered_the_calls_of_a_sync_cost_no_statements(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: Counter[str] = Counter()
    connect = pool.connect

    async def heard(*args: Any, **options: Any) -> Any:
        conn: Any = await connect(*args, **options)
        conn.add_query_logger(lambda query: ran.update([query.query]))
        return conn

    monkeypatch.setattr(pool, "connect", heard)
    begun = time.monotonic()
    async with world(database_url, accounts=10, posts=20) as w:
        state = await w.run()
        assert (state.status, state.success_count) == ("completed", 10)
        assert w.sim.calls.of() > 200
    looks = ran[SQL.budget_look]
    assert 1 <= looks <= 1 + (time.monotonic() - begun) / 2
    assert not ran.keys() & {SQL.budget_lease, SQL.budget_block, SQL.budget_slow}


async def test_a_rate_that_an_operator_sets_for_accounts_bounds_the_calls_of_each(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=20) as w:
        await set_budget(w.db, "threads:account:*", Rate(7, 3600.0), by="ops")
        state = await w.run()
        for account in w.sim.accounts:
            assert w.sim.calls.of(user=account.id) == 7
            said = await w.said(state.run_id, w.ids[account.id])
            assert said[1:] == [("partial", "rate_limited"), ("skipped", "rate_limited")]
        await _assert_no_attempt_was_spent(w)
