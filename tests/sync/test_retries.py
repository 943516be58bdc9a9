"""An attempt that ends amid its work, however it ends, leaves nothing twice, nothing out and no row open."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sync.support import STEPS, World, reached, refusal, until, world
from tidemill.connectors.threads import ThreadsClient, connector
from tidemill.engine import Backoff
from tidemill.sync import account as account_room
from tidemill.sync.steps import posts as posts_step

COMPLETED = [("completed", None)] * 3
POSTS = 11


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits every few posts, as an account of thousands does every few hundred."""
    monkeypatch.setattr(connector, "BATCH_SIZE", 3)
    monkeypatch.setattr(posts_step, "MOST_AT_ONCE", 3)
    monkeypatch.setitem(ThreadsClient.pages.__kwdefaults__, "page_size", 3)


async def _lose_the_lease(w: World) -> None:
    """As if this process had been silent for too long: its jobs pass to whoever looks first, which is itself anew."""
    assert w.worker is not None
    await w.db.execute(
        "update tidemill.node set expires_at = clock_timestamp() - interval '1 second' where id = $1", w.worker.node.id
    )


async def _layers(w: World) -> dict[str, Any]:
    """All three layers without ids and capture times, keyed by the provider's ids."""
    found: dict[str, Any] = {}
    for table, key in (
        ("workspace_threads_post_metrics", "workspace_threads_post_id"),
        ("workspace_threads_post_metrics_deltas", "workspace_threads_post_id"),
        ("workspace_threads_account_insights", "workspace_threads_account_id"),
        ("workspace_threads_account_insights_deltas", "workspace_threads_account_id"),
        ("workspace_threads_posts", "id"),
    ):
        owner = "threads_post_id" if key != "workspace_threads_account_id" else "threads_user_id"
        joined = "workspace_threads_posts" if owner == "threads_post_id" else "workspace_threads_accounts"
        rows = await w.db.fetch(
            f"select o.{owner} as owner, to_jsonb(t) - array['id', 'workspace_id', 'workspace_threads_account_id',"
            " 'workspace_threads_post_id', 'captured_at', 'created_at', 'updated_at', 'first_synced_at',"
            " 'last_metrics_sync_at'] as said"
            f" from public.{table} t join public.{joined} o on o.id = t.{key} order by 1, 2"
        )
        found[table] = [(row["owner"], row["said"]) for row in rows]
    return found


@pytest.fixture
async def undisturbed(small_batches: None, database_url: str) -> dict[str, Any]:
    """What two ticks leave when nothing happens; the database is emptied for the test."""
    async with world(database_url, accounts=1, posts=POSTS) as w:
        await w.run()
        await w.tick()
        layers = await _layers(w)
        await w.db.execute("delete from public.workspaces")
        await w.db.execute("delete from public.system_job_logs")
    return layers


def _check_counts(rows: dict[str, Any]) -> None:
    assert [row.said for row in rows.values()] == COMPLETED
    assert rows["sync_posts"].metadata["posts_synced"] == POSTS
    assert rows["sync_metrics"].metadata["metrics_updated"] == POSTS
    assert rows["sync_metrics"].metadata["metrics_missing"] == 0
    assert rows["sync_account_insights"].metadata["insights_synced"] == 1


@pytest.mark.parametrize(
    ("edge", "after"), [("threads", 0), ("threads", 2), ("insights", 0), ("insights", 7), ("threads_insights", 1)]
)
async def test_a_job_taken_from_a_lost_process_ends_as_if_nothing_had_happened(
    database_url: str, undisturbed: dict[str, Any], edge: str, after: int
) -> None:
    async with world(database_url, accounts=1, posts=POSTS, lease_ttl_s=5.0) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        await w.run()
        await w.db.execute("update public.workspace_threads_accounts set posts_watermark = null")
        await w.set_clocks(w.now.replace(minute=15))
        async with w.holding(account, edge, after=after) as hold:
            triggered = await w.trigger()
            await reached(hold)
            await _lose_the_lease(w)

            async def _rescued() -> bool:
                return ("crashed" in {outcome for _, outcome in await w.attempts()}) and bool(w.events("rescued"))

            await until(_rescued, "the rescue")
        state = await w.finished(triggered.run_id)
        assert (state.status, state.success_count) == ("completed", 1)
        rows = (await w.rows(state.run_id))[mine]
        _check_counts(rows)
        begun = {"threads": 0, "insights": 1, "threads_insights": 2}[edge]
        assert [row.attempt for row in rows.values()] == [1] * begun + [2] * (3 - begun)
        assert await _layers(w) == undisturbed
        assert await w.lock_is_free()


async def test_a_job_that_raised_is_tried_again_and_goes_on_where_it_was(
    database_url: str, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit: Any = account_room._commit
    commits = 0

    async def failing(*args: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == 5:
            raise RuntimeError("a disk is full")
        await commit(*args)

    async with world(database_url, accounts=1, posts=POSTS) as w:
        mine = w.ids[w.sim.accounts[0].id]
        await w.run()
        monkeypatch.setattr(account_room, "_commit", failing)
        await w.db.execute("update public.workspace_threads_accounts set posts_watermark = null")
        state = await w.tick()
        assert commits > 5
        rows = (await w.rows(state.run_id))[mine]
        _check_counts(rows)
        assert {row.attempt for row in rows.values()} <= {1, 2}
        assert rows["sync_metrics"].metadata["retry_count"] == rows["sync_metrics"].attempt - 1
        assert [outcome for _, outcome in await w.attempts()][-3:] == ["done", "retry", "done"]
        assert await _layers(w) == undisturbed


async def test_a_job_that_raises_for_ever_is_given_up_and_its_rows_are_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "after", lambda self, attempt: 0.0)
    async with world(database_url, accounts=2, posts=2) as w:
        broken, good = w.sim.accounts
        await w.db.execute(
            "create function public.break_it() returns trigger language plpgsql as $$"
            " begin raise exception 'no room for this one'; end $$"
        )
        await w.db.execute(
            "create trigger break_it before insert on public.workspace_threads_post_metrics for each row"
            f" when (new.likes is not null and new.workspace_id = '{w.workspace}') execute function public.break_it()"
        )
        elsewhere = await w.add_workspace()
        await w.db.execute("delete from public.workspace_threads_accounts where id = $1", w.ids[good.id])
        mine, other = w.ids[broken.id], await w.connect(good, workspace=elsewhere)
        state = await w.run()
        assert await w.said(state.run_id, mine) == [
            ("completed", None),
            ("failed", "abandoned"),
            ("failed", "abandoned"),
        ]
        rows = (await w.rows(state.run_id))[mine]
        assert "no room for this one" in (rows["sync_metrics"].error or "")
        assert await w.said(state.run_id, other) == COMPLETED
        assert (state.status, state.success_count, state.error_count) == ("partial", 1, 1)
        assert (await w.attempts()).count((3, "dead")) == 1
        assert await w.leaks() == []
        # The key is free again: the account is tried anew in the next slot.
        await w.db.execute("drop trigger break_it on public.workspace_threads_post_metrics")
        assert await w.said((await w.tick()).run_id, mine) == COMPLETED


@pytest.mark.usefixtures("small_batches")
async def test_what_was_missed_before_an_interruption_is_not_forgotten_after_it(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=POSTS, lease_ttl_s=5.0) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        await w.run()
        await w.set_clocks(w.now.replace(minute=15))
        gone = account.post(POSTS - 1).id  # the newest post is asked for first
        w.sim.faults.add([refusal(100, 33, endpoint="post_insights", user=account, post=gone)])
        async with w.holding(account, "insights", after=7) as hold:
            triggered = await w.trigger()
            await reached(hold)
            await _lose_the_lease(w)

            async def _rescued() -> bool:
                return "crashed" in {outcome for _, outcome in await w.attempts()}

            await until(_rescued, "the rescue")
        state = await w.finished(triggered.run_id)
        rows = (await w.rows(state.run_id))[mine]
        assert list(rows) == list(STEPS)
        assert rows["sync_metrics"].status == "partial"
        assert rows["sync_metrics"].metadata["metrics_updated"] == POSTS - 1
        assert rows["sync_metrics"].metadata["metrics_missing"] == 1
        assert "code 100/33" in (rows["sync_metrics"].error or "")
        assert state.status == "partial"
