"""An account's time budget, a run's deadline, and the seed's own pace."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from tests.sync.support import SLOT, World, reached, until, world

COMPLETED = [("completed", None)] * 3


async def test_an_account_out_of_time_keeps_what_it_has_and_says_so(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=12, sync_account_budget_s=6.0) as w:
        slow, mute, good = w.sim.accounts
        async with w.holding(slow, "insights", after=7), w.holding(mute, "threads"):
            state = await w.run()
        rows = (await w.rows(state.run_id))[w.ids[slow.id]]
        assert [row.said for row in rows.values()] == [
            ("completed", None),
            ("partial", "time_budget"),
            ("skipped", "time_budget"),
        ]
        assert await w.snapshots(w.ids[slow.id]) == 7
        assert rows["sync_metrics"].metadata["metrics_updated"] == 7
        assert await w.said(state.run_id, w.ids[mute.id]) == [("skipped", "time_budget")] * 3
        assert await w.said(state.run_id, w.ids[good.id]) == COMPLETED
        assert (state.status, state.success_count, state.error_count, state.skipped_count) == ("partial", 1, 1, 1)
        assert {attempt for attempt, _ in await w.attempts()} == {1}

        state = await w.tick()
        assert [await w.said(state.run_id, account) for account in w.ids.values()] == [COMPLETED] * 3
        assert await w.snapshots(w.ids[slow.id]) == 12


async def test_a_run_that_meets_its_next_slot_is_closed_and_commits_nothing_more(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=2, accounts_at_once=2) as w:
        by_id = {w.ids[account.id]: account for account in w.sim.accounts}
        stuck, through, queued = sorted(by_id)
        async with w.holding(by_id[stuck], "insights"), w.holding(by_id[queued], "threads"):
            triggered = await w.trigger()

            async def _as_wanted() -> bool:
                rows = await w.rows(triggered.run_id)
                at = {account: [row.status for row in steps.values()] for account, steps in rows.items()}
                return at.get(through) == ["completed"] * 3 and at.get(stuck, [""])[0] == "completed"

            await until(_as_wanted, "one account through, one amid its steps")
            before = w.slot
            await w.set_clocks(w.now + SLOT)
            state = await w.finished(triggered.run_id)
        late = ("skipped", "deadline")
        assert await w.said(state.run_id, stuck) == [("completed", None), late, late]
        assert await w.said(state.run_id, through) == COMPLETED
        assert await w.said(state.run_id, queued) == [late] * 3
        assert (state.status, state.success_count, state.error_count, state.skipped_count) == ("partial", 1, 1, 1)
        log = await w.system_log(state.run_id)
        assert log["error_message"]
        assert await w.lock_is_free()
        assert await w.db.fetchval("select state from tidemill.batch where id = $1", log["batch_id"]) == "closed"

        # The handlers wake up now that their calls are answered; their leases are gone.
        async def _told() -> bool:
            return bool(w.events("lease_lost"))

        await until(_told, "the word that a lease was lost")
        assert await w.snapshots(stuck, before) == 0
        assert await w.said(state.run_id, stuck) == [("completed", None), late, late]
        state = await w.run()
        assert (state.status, state.success_count) == ("completed", 3)


async def test_a_run_that_never_got_to_an_account_is_skipped_as_a_whole_at_its_deadline(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        async with w.holding(None, "threads") as hold:
            triggered = await w.trigger()
            await reached(hold)
            await w.set_clocks(w.now + SLOT)
            state = await w.finished(triggered.run_id)
        assert (state.status, state.skipped_count, state.skipped_reason) == ("skipped", 2, "all_skipped")
        assert {said for rows in (await w.rows(state.run_id)).values() for said in (r.said for r in rows.values())} == {
            ("skipped", "deadline")
        }
        assert (await w.run()).success_count == 2


async def test_a_tick_waits_for_the_closing_of_the_run_before_instead_of_giving_up_its_slot(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        async with w.holding(None, "threads") as hold:
            triggered = await w.trigger()
            await reached(hold)
            async with w.db.transaction() as conn:
                await conn.execute("select from public.system_job_logs where id = $1 for update", triggered.run_id)
                await w.set_clocks(w.now + SLOT)
                await w.app.engine.enqueue("scheduled_sync", {"fire_at": w.slot.isoformat()})

                async def _waits() -> bool:
                    return await w.db.fetchval(
                        "select exists (select from tidemill.job_delayed j join tidemill.kind k on k.id = j.kind"
                        " where k.name = 'scheduled_sync')"
                    )

                await until(_waits, "the tick to be put off")
        await w.finished(triggered.run_id)

        async def _next() -> bool:
            return await w.db.fetchval(
                "select exists (select from public.system_job_logs where sync_batch_at = $1 and status = 'completed')",
                w.slot,
            )

        await until(_next, "the run of the next slot")
        assert (
            await w.db.fetchval("select count(*) from public.system_job_logs where skipped_reason = 'already_running'")
            == 0
        )


async def _account_jobs(w: World) -> list[tuple[float, float]]:
    """Start and end of every account's job, in order."""
    rows = await w.db.fetch(
        "select extract(epoch from started_at)::float8, extract(epoch from finished_at)::float8"
        " from tidemill.job_run r join tidemill.kind k on k.id = r.kind where k.name = 'sync_account' order by 1"
    )
    return [tuple(row) for row in rows]


async def test_the_seeds_profile_takes_accounts_in_groups_with_a_pause_between(database_url: str) -> None:
    async with world(database_url, accounts=5, posts=1, batch_size=2, batch_delay_ms=400) as w:
        state = await w.run()
        assert (state.status, state.success_count) == ("completed", 5)
        jobs = await _account_jobs(w)
        groups = [jobs[0:2], jobs[2:4], jobs[4:5]]
        for one, next_one in pairwise(groups):
            assert min(start for start, _ in next_one) - max(end for _, end in one) >= 0.4


async def test_the_seeds_profile_does_not_pause_after_its_last_group(database_url: str) -> None:
    for_ever_ms = 600_000
    async with world(database_url, accounts=2, posts=1, batch_size=2, batch_delay_ms=for_ever_ms) as w:
        state = await w.run()
        assert (state.status, state.success_count) == ("completed", 2)


async def test_a_group_without_a_fit_account_is_no_reason_to_pause(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=1, batch_size=1, batch_delay_ms=600_000) as w:
        _, unfit, _ = sorted(w.ids.values())
        await w.db.execute(
            "update public.workspace_threads_tokens set expires_at = tidemill.now()"
            " where workspace_threads_account_id = $1",
            unfit,
        )
        triggered = await w.trigger()

        async def _pausing() -> bool:
            return await w.db.fetchval(
                "select exists (select from tidemill.job_delayed where run_at > tidemill.now() + interval '5 minutes')"
            )

        await until(_pausing, "the pause after the first group")
        await w.set_clocks(w.now + timedelta(seconds=601))
        state = await w.finished(triggered.run_id)
        assert (state.status, state.success_count, state.skipped_count) == ("completed", 2, 1)
