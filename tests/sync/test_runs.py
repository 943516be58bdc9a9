"""What a scheduled run leaves behind, which accounts it takes, and what the seeds' own queries say of it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from tests.schema.test_logs import BAD_RUNS, RECENT_FAILURES, RECENT_RUNS, RETENTION, SUCCESS_RATE
from tests.sync.support import SLOT, START, STEPS, reached, refusal, until, world
from tidemill.sync import scheduled, service

COUNTS = {"sync_posts": "posts_synced", "sync_metrics": "metrics_updated", "sync_account_insights": "insights_synced"}


async def test_a_run_of_healthy_accounts_completes_and_logs_every_step(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=4) as w:
        state = await w.run()
        assert (state.status, state.total_accounts, state.success_count) == ("completed", 3, 3)
        assert (state.error_count, state.skipped_count, state.skipped_reason) == (0, 0, None)
        rows = await w.rows(state.run_id)
        assert set(rows) == set(w.ids.values())
        for steps in rows.values():
            assert list(steps) == list(STEPS)
            for step, row in steps.items():
                assert row.said == ("completed", None)
                assert row.completed_at is not None
                assert row.started_at <= row.completed_at
                assert row.error is None
                assert (row.slot, row.trigger, row.attempt) == (w.slot, "test", 1)
                assert row.metadata[COUNTS[step]] == (1 if step == "sync_account_insights" else 4)
                assert row.metadata["duration_ms"] >= 0
                assert row.metadata["retry_count"] == 0
                assert row.metadata["api_calls"] > 0
                assert "api_response" not in row.metadata
        starts = [row.started_at for row in steps.values()]
        assert starts == sorted(starts)

        log = await w.system_log(state.run_id)
        assert (log["job_type"], log["status"], log["trigger"]) == ("scheduled_sync", "completed", "test")
        assert log["sync_batch_at"] == w.slot
        assert log["started_at"] <= log["completed_at"]
        assert log["error_message"] is None
        assert set(log["metadata"]) == {"total_accounts", "success_count", "error_count", "skipped_count", "results"}
        for result in log["metadata"]["results"]:
            assert result == {
                "account_id": result["account_id"],
                "username": result["username"],
                "status": "completed",
                "posts_synced": 4,
                "metrics_success": 4,
                "metrics_error": 0,
                "insights_synced": True,
            }
        usernames = {w.ids[account.id]: account.username for account in w.sim.accounts}
        assert {UUID(r["account_id"]): r["username"] for r in log["metadata"]["results"]} == usernames
        assert await w.lock_is_free()


async def test_two_ticks_leave_three_layers_of_posts_and_of_accounts(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=4) as w:
        await w.run()
        await w.tick()
        counts = {
            table: await w.db.fetchval(f"select count(*) from public.workspace_threads_{table}")
            for table in (
                "posts",
                "post_metrics",
                "post_metrics_deltas",
                "account_insights",
                "account_insights_deltas",
            )
        }
        assert counts == {
            "posts": 8,
            "post_metrics": 16,
            "post_metrics_deltas": 16,
            "account_insights": 4,
            "account_insights_deltas": 4,
        }
        slots = {
            r[0] for r in await w.db.fetch("select distinct sync_batch_at from public.workspace_threads_post_metrics")
        }
        assert slots == {START.replace(second=0), START.replace(second=0) + SLOT}
        behind = await w.db.fetchval(
            "select count(*) from public.workspace_threads_posts p where last_sync_batch_at is distinct from $1"
            " or current_likes is distinct from (select likes from public.workspace_threads_post_metrics m"
            "   where m.workspace_threads_post_id = p.id and m.sync_batch_at = $1)",
            w.slot,
        )
        assert behind == 0
        for account in w.ids.values():
            row = await w.account(account)
            assert row["last_sync_batch_at"] == w.slot
            assert row["current_followers_count"] > 0
            assert row["posts_watermark"] is not None


async def test_a_run_without_accounts_completes_with_zeros(database_url: str) -> None:
    async with world(database_url, accounts=1, connected=False) as w:
        state = await w.run()
        assert (state.status, state.total_accounts, state.success_count) == ("completed", 0, 0)
        log = await w.system_log(state.run_id)
        assert log["metadata"] == {
            "total_accounts": 0,
            "success_count": 0,
            "error_count": 0,
            "skipped_count": 0,
            "results": [],
        }
        assert await w.rows(state.run_id) == {}
        assert await w.lock_is_free()


async def test_the_results_kept_of_a_run_are_bounded_and_the_worst_come_first(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled, "MOST_RESULTS", 2)
    monkeypatch.setattr(service, "MOST_RESULTS", 2)
    async with world(database_url, accounts=4, posts=1) as w:
        worst, bad, *_ = w.sim.accounts
        w.sim.faults.add([refusal(190, user=worst), refusal(2, user=bad)])
        state = await w.run()
        assert [(r["username"], r["status"]) for r in state.results] == [
            (worst.username, "failed"),
            (bad.username, "partial"),
        ]
        assert (state.total_accounts, state.success_count, state.error_count) == (4, 2, 2)
        assert len((await w.system_log(state.run_id))["metadata"]["results"]) == 2
        assert len(await w.rows(state.run_id)) == 4


async def test_a_run_takes_only_accounts_that_can_and_want_to_be_synced(database_url: str) -> None:
    async with world(database_url, accounts=6, posts=1, connected=False) as w:
        good, inactive, homeless, revoked, second, resting = w.sim.accounts
        gone = await w.add_workspace()
        for account in (good, inactive, revoked, second, resting):
            await w.connect(account)
        await w.connect(homeless, workspace=gone)
        await w.db.execute("update public.workspaces set deleted_at = tidemill.now() where id = $1", gone)
        for statement, account in (
            ("update public.workspace_threads_accounts set is_active = false where id = $1", inactive),
            (
                "update public.workspace_threads_tokens set revoked_at = tidemill.now()"
                " where workspace_threads_account_id = $1",
                revoked,
            ),
            (
                "update public.workspace_threads_tokens set is_primary = false where workspace_threads_account_id = $1",
                second,
            ),
            ("update public.workspace_threads_accounts set min_sync_interval = '1 hour' where id = $1", resting),
        ):
            await w.db.execute(statement, w.ids[account.id])

        state = await w.run()
        assert {UUID(r["account_id"]) for r in state.results} == {w.ids[good.id], w.ids[resting.id]}
        for minutes, expected in ((15, {good}), (45, {good}), (60, {good, resting}), (75, {good})):
            state = await w.tick(at=START + timedelta(minutes=minutes))
            assert {UUID(r["account_id"]) for r in state.results} == {w.ids[a.id] for a in expected}, minutes
            assert state.status == "completed"
        for account in (inactive, homeless, revoked, second):
            assert w.sim.calls.of(user=account.id) == 0


async def test_an_account_given_up_after_its_selection_is_skipped_without_a_call(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1, accounts_at_once=1) as w:
        by_id = {w.ids[account.id]: account for account in w.sim.accounts}
        first, later = sorted(by_id)
        async with w.holding(by_id[first], "threads") as hold:
            triggered = await w.trigger()
            await reached(hold)
            await w.db.execute("update public.workspace_threads_accounts set is_active = false where id = $1", later)
        state = await w.finished(triggered.run_id)
        assert await w.said(state.run_id, first) == [("completed", None)] * 3
        assert await w.said(state.run_id, later) == [("skipped", "inactive")] * 3
        assert w.sim.calls.of(user=by_id[later].id) == 0
        assert (state.status, state.success_count, state.skipped_count) == ("completed", 1, 1)


async def test_the_built_in_schedule_runs_each_slot_unless_somebody_else_did(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        await w.app.declare_schedules()
        early = await w.run()

        async def _closed() -> list[tuple[str, str, str | None]]:
            rows = await w.db.fetch(
                "select trigger, status, skipped_reason from public.system_job_logs"
                " where sync_batch_at = $1 and completed_at is not null order by started_at",
                w.slot,
            )
            return [tuple(row) for row in rows]

        assert early.status == "completed"
        await w.set_clocks(w.now + SLOT)
        assert await until(_closed, "the schedule's run") == [("schedule", "completed", None)]
        assert await w.snapshots(w.ids[w.sim.accounts[0].id]) == 1
        again = await w.trigger()
        assert again.reason == "already_ran"

        await w.db.execute("update tidemill.schedule set paused_by = 'test'")
        await w.tick()
        await w.db.execute("update tidemill.schedule set paused_by = null")

        async def _both() -> bool:
            return len(await _closed()) == 2

        await until(_both, "the schedule's word that the slot has run")
        assert await _closed() == [("test", "completed", None), ("schedule", "skipped", "already_ran")]


async def test_the_queries_printed_in_the_seeds_tell_what_happened(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=2) as w:
        good = await w.run()
        failing, *_ = w.sim.accounts
        w.sim.faults.add([refusal(190, user=failing)])
        bad = await w.tick()
        w.sim.faults.clear()
        skipped = await w.trigger()
        assert skipped.reason == "already_ran"

        recent = await w.db.fetch(RECENT_RUNS)
        assert [(r["job_type"], r["status"]) for r in recent] == [
            ("scheduled_sync", "skipped"),
            ("scheduled_sync", "partial"),
            ("scheduled_sync", "completed"),
        ]
        assert recent[1]["metadata"]["error_count"] == 1
        assert [r["id"] for r in await w.db.fetch(BAD_RUNS)] == [bad.run_id]
        [failure] = await w.db.fetch(RECENT_FAILURES)
        assert (failure["run_id"], failure["job_type"]) == (bad.run_id, "sync_posts")
        assert failure["workspace_threads_account_id"] == w.ids[failing.id]
        assert failure["metadata"]["api_response"]["error"]["code"] == 190
        rates = await w.db.fetch(SUCCESS_RATE)
        assert (sum(r["success"] for r in rates), sum(r["failed"] for r in rates)) == (9 + 6, 1)
        await w.db.execute(
            "update public.sync_logs set started_at = started_at - interval '31 days',"
            " completed_at = completed_at - interval '31 days' where run_id = $1",
            good.run_id,
        )
        await w.db.execute(RETENTION)
        assert await w.rows(good.run_id) == {}
        assert len(await w.rows(bad.run_id)) == 3
