"""Tokens that expire, are refused, or are replaced while they are in use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sync.support import SLOT, World, reached, refusal, world
from tidemill.simulators.threads import Account
from tidemill.sync import TokenExpired
from tidemill.sync.account import token_aad
from tidemill.sync.statements import SQL

COMPLETED = [("completed", None)] * 3


async def _refresh(w: World, account: Account, *, revoke: bool = True) -> None:
    """What a token's refresh does: the provider's new token takes the old one's place, by a higher version."""
    old = w.sim.state.tokens.of(account)[-1]
    new = w.sim.issue_token(account)
    if revoke:
        old.revoked = 463
    row = await w.db.fetchrow(
        "select id from public.workspace_threads_tokens where workspace_threads_account_id = $1 and is_primary",
        w.ids[account.id],
    )
    assert row is not None
    await w.db.execute(
        "update public.workspace_threads_tokens set access_token_encrypted = $2, version = version + 1 where id = $1",
        row["id"],
        w.app.vault.seal(new.text, token_aad(w.workspace, row["id"])),
    )


async def test_an_expired_token_is_found_at_selection_and_told_once(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1, connected=False) as w:
        [account] = w.sim.accounts
        mine = await w.connect(account, expires_in=600)
        state = await w.tick()
        assert await w.said(state.run_id, mine) == [("skipped", "token_expired")] * 3
        assert state.status == "skipped"
        assert await w.attempts() == []
        assert w.sim.calls.of() == 0
        first = await w.account(mine)
        assert first["token_status"] == "expired"
        assert first["reauth_told_at"] is not None
        state = await w.tick()
        assert await w.said(state.run_id, mine) == [("skipped", "token_expired")] * 3
        assert (await w.account(mine))["reauth_told_at"] == first["reauth_told_at"]
        assert len(w.events("needs_reauth")) == 1
        with pytest.raises(TokenExpired):
            await w.app.sync.trigger_manual(mine, "sync_posts", user_id=w.user, request_key="r")

        await w.connect(account)
        state = await w.tick()
        assert await w.said(state.run_id, mine) == COMPLETED
        row = await w.account(mine)
        assert (row["token_status"], row["reauth_told_at"]) == ("valid", None)


async def test_a_token_that_expires_after_its_selection_is_skipped_without_a_call(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1, accounts_at_once=1) as w:
        by_id = {w.ids[account.id]: account for account in w.sim.accounts}
        first, later = sorted(by_id)
        async with w.holding(by_id[first], "threads") as hold:
            triggered = await w.trigger()
            await reached(hold)
            await w.db.execute(
                "update public.workspace_threads_tokens set expires_at = tidemill.now()"
                " where workspace_threads_account_id = $1",
                later,
            )
        state = await w.finished(triggered.run_id)
        assert await w.said(state.run_id, later) == [("skipped", "token_expired")] * 3
        assert w.sim.calls.of(user=by_id[later].id) == 0


async def test_a_refused_token_is_used_no_more_until_the_account_is_connected_again(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        refused, good = w.sim.accounts
        mine = w.ids[refused.id]
        w.sim.state.tokens.of(refused)[-1].revoked = 467
        state = await w.run()
        assert (await w.said(state.run_id, mine))[0] == ("failed", "token_invalid")
        assert w.sim.calls.of(user=refused.id) == 1
        row = await w.account(mine)
        assert (row["token_status"], row["reauth_told_at"] is not None) == ("invalid", True)
        assert row["token_status_reason"]

        state = await w.tick()
        assert await w.said(state.run_id, mine) == [("skipped", "token_invalid")] * 3
        assert await w.said(state.run_id, w.ids[good.id]) == COMPLETED
        assert w.sim.calls.of(user=refused.id) == 1
        assert len(w.events("needs_reauth")) == 1
        with pytest.raises(TokenExpired):
            await w.app.sync.trigger_manual(mine, "sync_posts", user_id=w.user, request_key="r")

        await w.connect(refused)
        state = await w.tick()
        assert await w.said(state.run_id, mine) == COMPLETED
        assert (await w.account(mine))["token_status"] == "valid"
        assert await w.leaks() == []


@pytest.mark.parametrize("edge", ["threads", "insights", "threads_insights"])
async def test_a_token_refreshed_while_in_use_is_taken_up_and_the_step_completes(database_url: str, edge: str) -> None:
    async with world(database_url, accounts=1, posts=25) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        await w.run()
        await w.set_clocks(w.now + SLOT)
        # The first of the step's calls is answered, the others meet the refusal.
        async with w.holding(account, edge, after=1) as hold:
            triggered = await w.trigger()
            await reached(hold)
            await _refresh(w, account)
        state = await w.finished(triggered.run_id)
        rows = (await w.rows(state.run_id))[mine]
        assert [row.said for row in rows.values()] == COMPLETED
        assert rows["sync_posts"].metadata["posts_synced"] == 25
        assert rows["sync_metrics"].metadata["metrics_updated"] == 25
        assert rows["sync_metrics"].metadata["metrics_missing"] == 0
        assert rows["sync_account_insights"].metadata["insights_synced"] == 1
        assert await w.snapshots(mine) == 25
        insights = await w.db.fetchrow(
            "select * from public.workspace_threads_account_insights where sync_batch_at = $1", w.slot
        )
        assert insights is not None
        assert None not in (insights["followers_count"], insights["likes_count_7d"])
        row = await w.account(mine)
        assert (row["token_status"], row["reauth_told_at"]) == ("valid", None)
        assert [attempt for attempt, _ in await w.attempts()] == [1, 1]
        assert await w.leaks() == []


async def test_a_new_token_that_is_refused_too_is_believed(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        [account] = w.sim.accounts
        w.sim.faults.add([refusal(190, 467, user=account)])
        async with w.holding(account, "threads") as hold:
            triggered = await w.trigger()
            await reached(hold)
            await _refresh(w, account)
        state = await w.finished(triggered.run_id)
        assert (await w.said(state.run_id, w.ids[account.id]))[0] == ("failed", "token_invalid")
        assert w.sim.calls.of("posts", account.id) == 2
        assert (await w.account(w.ids[account.id]))["token_status"] == "invalid"


async def test_an_account_connected_again_while_its_old_token_is_refused_stays_connected(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        [account] = w.sim.accounts
        old = w.sim.state.tokens.of(account)[-1]
        async with w.holding(account, "threads") as hold:
            triggered = await w.trigger()
            await reached(hold)
            old.revoked = 460
            await w.connect(account)
        state = await w.finished(triggered.run_id)
        assert await w.said(state.run_id, w.ids[account.id]) == COMPLETED
        row: Any = await w.account(w.ids[account.id])
        assert (row["token_status"], row["reauth_told_at"]) == ("valid", None)
        primaries = await w.db.fetchval("select count(*) from public.workspace_threads_tokens where is_primary")
        assert primaries == 1


async def test_the_refusal_of_a_token_that_was_replaced_since_marks_nothing(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        primary = "select id, version from public.workspace_threads_tokens where is_primary"
        old: Any = await w.db.fetchrow(primary)
        await w.connect(account)
        new: Any = await w.db.fetchrow(primary)
        for stale in ((old["id"], old["version"]), (new["id"], new["version"] + 1)):
            assert await w.db.fetchrow(SQL.token_trouble, mine, "invalid", "refused", *stale) is None
            assert (await w.account(mine))["token_status"] == "valid"
        assert await w.db.fetchrow(SQL.token_trouble, mine, "invalid", "refused", new["id"], new["version"])
        assert (await w.account(mine))["token_status"] == "invalid"


async def test_a_missing_permission_rests_its_step_until_the_account_is_connected_again(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=2, connected=False) as w:
        [account] = w.sim.accounts
        mine = await w.connect(account)
        w.sim.state.tokens.of(account)[-1].scopes = frozenset({"threads_basic"})
        state = await w.run()
        assert await w.said(state.run_id, mine) == [
            ("completed", None),
            ("failed", "permission"),
            ("failed", "permission"),
        ]
        asked = w.sim.calls.of("post_insights"), w.sim.calls.of("account_insights")
        state = await w.tick()
        assert await w.said(state.run_id, mine) == [
            ("completed", None),
            ("skipped", "permission"),
            ("skipped", "permission"),
        ]
        assert (w.sim.calls.of("post_insights"), w.sim.calls.of("account_insights")) == asked
        row = await w.account(mine)
        assert sorted(row["disabled_steps"]) == ["sync_account_insights", "sync_metrics"]
        assert row["token_status"] == "valid"
        await w.connect(account)
        state = await w.tick()
        assert await w.said(state.run_id, mine) == COMPLETED
