"""How often a post's metrics are read: every run, hourly, daily, weekly, never, by its age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.sync.support import START, World, refusal, world
from tidemill.simulators.threads import Account

AGES = {
    "1 h": timedelta(hours=1),
    "10 d": timedelta(days=10),
    "100 d": timedelta(days=100),
    "200 d": timedelta(days=200),
    "400 d": timedelta(days=400),
}


def _give_ages(account: Account) -> dict[str, str]:
    """Let the account's posts have the ages above; post id → age. The simulator numbers posts from the oldest."""
    by_number = list(reversed(AGES))
    published = [int((START - AGES[name]).timestamp()) for name in by_number]
    account.published = published.__getitem__  # type: ignore[method-assign]
    account._posts.clear()
    return {account.post(number).id: name for number, name in enumerate(by_number)}


async def _measured(w: World, names: dict[str, str]) -> set[str]:
    rows = await w.db.fetch(
        "select p.threads_post_id from public.workspace_threads_post_metrics m"
        " join public.workspace_threads_posts p on p.id = m.workspace_threads_post_id where m.sync_batch_at = $1",
        w.slot,
    )
    return {names[row[0]] for row in rows}


async def test_each_age_has_its_own_pace_and_a_missed_tick_is_caught_up(database_url: str) -> None:
    ticks: list[tuple[datetime, set[str]]] = [
        (datetime(2026, 6, 10, 9, 0, tzinfo=UTC), {"1 h", "10 d", "100 d", "200 d"}),  # a Wednesday: all are new
        (datetime(2026, 6, 10, 9, 15, tzinfo=UTC), {"1 h"}),
        (datetime(2026, 6, 10, 9, 45, tzinfo=UTC), {"1 h"}),
        (datetime(2026, 6, 10, 10, 0, tzinfo=UTC), {"1 h", "10 d"}),
        (datetime(2026, 6, 10, 10, 15, tzinfo=UTC), {"1 h"}),
        (datetime(2026, 6, 10, 11, 45, tzinfo=UTC), {"1 h", "10 d"}),  # 11:00 to 11:30 were missed
        (datetime(2026, 6, 10, 12, 0, tzinfo=UTC), {"1 h", "10 d"}),
        (datetime(2026, 6, 11, 0, 0, tzinfo=UTC), {"1 h", "10 d", "100 d"}),
        (datetime(2026, 6, 11, 0, 15, tzinfo=UTC), {"1 h"}),
        (datetime(2026, 6, 12, 8, 30, tzinfo=UTC), {"1 h", "10 d", "100 d"}),  # midnight was missed
        (datetime(2026, 6, 12, 9, 15, tzinfo=UTC), {"1 h", "10 d"}),
        (datetime(2026, 6, 13, 9, 15, tzinfo=UTC), {"1 h", "10 d", "100 d"}),  # three days old by now: hourly
        (datetime(2026, 6, 13, 9, 30, tzinfo=UTC), set()),
        (datetime(2026, 6, 16, 7, 0, tzinfo=UTC), {"1 h", "10 d", "100 d", "200 d"}),  # Monday's midnight was missed
        (datetime(2026, 6, 17, 0, 0, tzinfo=UTC), {"1 h", "10 d", "100 d"}),
        (datetime(2026, 6, 22, 0, 0, tzinfo=UTC), {"1 h", "10 d", "100 d", "200 d"}),
    ]
    async with world(database_url, accounts=1, posts=len(AGES)) as w:
        names = _give_ages(w.sim.accounts[0])
        for slot, expected in ticks:
            state = await w.tick(at=slot + timedelta(seconds=5))
            assert state.status == "completed"
            assert w.slot == slot
            assert await _measured(w, names) == expected, slot
            row = (await w.rows(state.run_id))[w.ids[w.sim.accounts[0].id]]["sync_metrics"]
            assert row.metadata["metrics_updated"] == len(expected)


async def test_a_post_that_was_not_got_is_due_again_in_the_next_run_whatever_its_pace(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=len(AGES)) as w:
        [account] = w.sim.accounts
        names = _give_ages(account)
        w.sim.faults.add([refusal(2, endpoint="post_insights", user=account, post=i) for i in names])
        state = await w.run()
        assert (await w.said(state.run_id, w.ids[account.id]))[1] == ("failed", "provider")
        w.sim.faults.clear()
        await w.tick()
        assert await _measured(w, names) == {"1 h", "10 d", "100 d", "200 d"}
