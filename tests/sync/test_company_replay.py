"""A replay of a company's Threads accounts: views by day once more, and word of what the provider cannot give back."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.sync.support import World, refusal, until, world
from tests.sync.test_company import add_job, own, ran
from tidemill.sync import company_replay
from tidemill.sync.company_replay import UNRECOVERABLE, VIEWS
from tidemill.sync.layers import replay_views_days

MAY = {"since": "2026-05-01T07:00:00Z", "until": "2026-05-21T07:00:00Z"}
"""Twenty of the provider's days, which end at seven."""
LAYERS = (
    "workspace_threads_account_insights",
    "workspace_threads_account_insights_deltas",
    "workspace_threads_posts",
    "workspace_threads_accounts",
)


async def days(w: World) -> dict[tuple[Any, datetime], int]:
    rows = await w.db.fetch("select * from public.workspace_threads_account_views_days")
    return {(row["workspace_threads_account_id"], row["end_time"]): row["views"] for row in rows}


async def others(w: World) -> list[str]:
    """Every row of the layers but the days: what a replay has no business with."""
    return [await w.db.fetchval(f"select string_agg(t::text, ' ' order by t::text) from public.{t} t") for t in LAYERS]


async def replayed(w: World, connector: Any, **payload: Any) -> Any:
    return await ran(w, await add_job(w, connector, "replay", **{"window": MAY, "streams": [VIEWS], **payload}))


def unread(run: Any) -> list[str]:
    """Why accounts were not read."""
    return [action["reason"] for action in run["applied_actions"] if action["action"] == "unread"]


def did(run: Any) -> list[tuple[str, int]]:
    return [(action["action"], action["count"]) for action in run["applied_actions"]]


async def test_days_are_filled_overwritten_or_only_compared_and_nothing_else_is_touched(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1, connected=False) as w:
        first, second = w.sim.accounts
        await w.connect(first)
        await w.connect(second, workspace=await w.add_workspace())  # another tenant's
        await w.run()
        connector = await own(w, w.workspace)
        lived, layers = await days(w), await others(w)
        account = w.ids[first.id]

        dry = await replayed(w, connector, mode="dry_run")
        assert (dry["status"], dry["error_detail"], await days(w)) == ("completed", None, lived)
        assert dry["metrics"]["counts"]["would_fill"] == dry["metrics"]["counts"]["days"]

        filled = await replayed(w, connector)
        known = await days(w)
        new = known.keys() - lived.keys()
        assert filled["metrics"]["counts"] == {"days": len(new), "filled": len(new)}
        assert {whose for whose, _ in new} == {account}
        since, until = (datetime.fromisoformat(at) for at in MAY.values())
        assert all(since < end <= until for _, end in new)
        assert 15 <= len(new) <= 20  # the provider leaves some days out
        assert lived.items() <= known.items()
        assert did(await replayed(w, connector)) == []

        await w.db.execute(
            "update public.workspace_threads_account_views_days set views = views + 1000 where end_time <= $1", until
        )
        assert did(await replayed(w, connector, mode="fill")) == []
        wrong = await replayed(w, connector, mode="dry_run")
        assert wrong["metrics"]["counts"] == {"days": len(new), "would_overwrite": len(new)}
        right = await replayed(w, connector, mode="overwrite")
        assert right["metrics"]["counts"] == {"days": len(new), "overwritten": len(new)}
        assert await days(w) == known
        assert await others(w) == layers


async def test_what_cannot_be_replayed_is_told_by_metric_or_refused_where_it_is_asked_for(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        connector = await own(w, w.workspace)
        every = await replayed(w, connector, streams=None)
        assert (every["status"], every["reason"], every["metrics"]["completed"]) == ("partial", "no_window", 1)
        assert every["metrics"]["unrecoverable"] == UNRECOVERABLE
        assert every["metrics"]["counts"]["filled"] > 0
        named = await replayed(w, connector, streams=[VIEWS, "followers_count"])
        assert (named["status"], named["reason"]) == ("failed", "no_window")
        assert "followers_count: it is told as it is now" in named["error_detail"]
        unknown = await replayed(w, connector, streams=["orders"])
        assert (unknown["status"], unknown["reason"]) == ("failed", "unknown_stream")
        early = {"since": "2020-01-01T00:00:00Z", "until": "2020-02-01T00:00:00Z"}
        before = await replayed(w, connector, window=early)
        assert (before["status"], before["reason"]) == ("failed", "no_window")
        assert "2024-04-13" in before["error_detail"]


async def test_what_a_past_run_covered_is_replayed_as_far_as_days_have_ended(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        connector = await own(w, w.workspace)
        synced = await ran(w, await add_job(w, connector))
        await w.db.execute("delete from public.workspace_threads_account_views_days")
        run = await replayed(w, connector, window=None, run=str(synced["id"]))
        assert (run["status"], run["error_detail"]) == ("completed", None)
        ends = [end for _, end in await days(w)]
        assert ends
        assert w.now - company_replay.SPAN < min(ends) <= max(ends) <= w.now


async def test_a_replay_that_is_cut_off_goes_on_behind_what_it_wrote_and_counts_nothing_twice(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = 0

    async def cut(*args: Any, **options: Any) -> Any:
        nonlocal spans
        spans += 1
        found = await replay_views_days(*args, **options)
        if spans in (3, 6):
            raise RuntimeError("the attempt ends here")
        return found

    monkeypatch.setattr(company_replay, "replay_views_days", cut)
    async with world(database_url, accounts=2, posts=1) as w:
        run = await replayed(w, await own(w, w.workspace), mode="dry_run")
        assert (run["status"], run["attempt"], run["metrics"]["completed"], spans) == ("completed", 3, 2, 10)
        assert sum(count for _, count in did(run)) == run["metrics"]["counts"]["would_fill"]
        assert run["metrics"]["counts"]["would_fill"] == run["metrics"]["counts"]["days"]


async def test_a_replay_whose_time_is_up_goes_on_with_the_next_days(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1, sync_job_budget_s=0.000001) as w:
        run = await replayed(w, await own(w, w.workspace))
        assert (run["status"], run["error_detail"]) == ("completed", None)
        assert run["metrics"]["counts"]["filled"] == len(await days(w)) > 0


async def test_accounts_that_cannot_be_read_are_told_and_the_others_are(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=1, connected=False) as w:
        good, refused, expired = w.sim.accounts
        for account in (good, refused, expired):
            await w.connect(account)
        await w.db.execute(
            "update public.workspace_threads_tokens set expires_at = $2 where workspace_threads_account_id = $1",
            w.ids[expired.id],
            w.now - timedelta(days=1),
        )
        w.sim.faults.add([refusal(10, endpoint="account_insights", user=refused)])
        run = await replayed(w, await own(w, w.workspace))
        assert (run["status"], run["reason"]) == ("partial", "accounts_failed")
        counts = {key: run["metrics"][key] for key in ("completed", "partial", "failed", "skipped")}
        assert counts == {"completed": 1, "partial": 0, "failed": 1, "skipped": 1}
        unread = {a["account"]: a["reason"] for a in run["applied_actions"] if a["action"] == "unread"}
        assert unread == {str(w.ids[refused.id]): "permission", str(w.ids[expired.id]): "token_expired"}
        assert {whose for whose, _ in await days(w)} == {w.ids[good.id]}


async def test_a_token_that_a_replay_finds_refused_is_told_of_once(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        good, refused = w.sim.accounts
        w.sim.faults.add([refusal(190, endpoint="account_insights", user=refused, message="Session has expired")])
        connector = await own(w, w.workspace)
        await replayed(w, connector)
        marked = await w.db.fetch(
            "select id, token_status, token_status_reason from public.workspace_threads_accounts order by token_status"
        )
        assert [tuple(row) for row in marked] == [
            (w.ids[refused.id], "invalid", "Session has expired"),
            (w.ids[good.id], "valid", None),
        ]
        again = await replayed(w, connector)
        unread = [(a["account"], a["reason"]) for a in again["applied_actions"] if a["action"] == "unread"]
        assert unread == [(str(w.ids[refused.id]), "token_invalid")]
        assert [event["account"] for event in w.events("needs_reauth")] == [str(w.ids[refused.id])]


async def test_an_account_whose_user_must_act_is_asked_again_after_hours(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        [account] = w.sim.accounts
        w.sim.faults.add([refusal(190, 459, endpoint="account_insights", user=account, times=1)])
        connector = await own(w, w.workspace)
        assert [unread(await replayed(w, connector)) for _ in range(2)] == [["user_action"]] * 2
        assert w.sim.calls.of(user=account.id) == 1
        await w.set_clocks(w.now + timedelta(hours=7))
        assert unread(await replayed(w, connector)) == []


async def test_when_the_app_must_pause_the_replay_waits_and_goes_on(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        w.sim.faults.add([refusal(4, endpoint="account_insights", call=2, headers={"Retry-After": "600"})])
        job = await add_job(w, await own(w, w.workspace), "replay", window=MAY, streams=[VIEWS])
        asked = asyncio.create_task(ran(w, job))

        async def waits() -> bool:
            return await w.db.fetchval("select exists (select from tidemill.job_delayed where args ? 'connector')")

        await until(waits, "the pause")
        await w.set_clocks(w.now + timedelta(minutes=11))
        run = await asked
        assert (run["status"], run["metrics"]["counts"]["waits"]) == ("completed", 1)
        assert run["metrics"]["counts"]["filled"] == len(await days(w))
