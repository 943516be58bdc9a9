"""Runs that meet: one slot, one run; one account, one job; whoever comes second says so and does nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.sync.support import STEPS, World, reached, refusal, until, world
from tidemill.engine import KeyHeld
from tidemill.errors import InvalidInput

COMPLETED = [("completed", None)] * 3
HELD = [("skipped", "already_running")] * 3


async def _freed(w: World) -> None:
    """Wait until no job is left: an account's key is freed just after the rows of its run are closed."""

    async def _free() -> bool:
        return not await w.db.fetchval("select count(*) from tidemill.unique_key")

    await until(_free, "the end of every job")


async def test_of_triggers_at_once_exactly_one_runs_and_the_others_leave_a_row(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        triggers = await asyncio.gather(*(w.trigger() for _ in range(6)))
        [started] = [t for t in triggers if not t.skipped]
        state = await w.finished(started.run_id)
        assert (state.status, state.success_count) == ("completed", 2)
        for skipped in (t for t in triggers if t.skipped):
            assert skipped.reason in ("already_running", "already_ran")
            log = await w.system_log(skipped.run_id)
            assert (log["status"], log["skipped_reason"], log["sync_batch_at"]) == ("skipped", skipped.reason, w.slot)
            assert log["completed_at"] is not None
            assert log["metadata"]["skipped"] is True
            assert await w.rows(skipped.run_id) == {}
        assert await w.db.fetchval("select count(*) from public.system_job_logs") == 6
        assert [await w.snapshots(account) for account in w.ids.values()] == [1, 1]


async def test_a_trigger_while_a_run_is_under_way_is_told_until_when(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        async with w.holding(None, "threads") as hold:
            first = await w.trigger()
            await reached(hold)
            second = await w.trigger()
            assert (second.skipped, second.reason) == (True, "already_running")
            assert second.locked_until is not None
            own = await w.trigger(own_slot=True)
            assert (own.skipped, own.reason) == (True, "already_running")
            assert not await w.lock_is_free()
        assert (await w.finished(first.run_id)).status == "completed"
        assert await w.lock_is_free()
        state = await w.app.sync.state(second.run_id)
        assert state is not None
        assert (state.final, state.status, state.skipped_reason) == (True, "skipped", "already_running")


async def test_a_slot_runs_once_but_a_run_of_its_own_slot_may_follow(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        await w.run()
        again = await w.trigger()
        assert (again.skipped, again.reason) == (True, "already_ran")
        assert await w.lock_is_free()
        await w.set_clocks(w.now + timedelta(minutes=3))
        own = await w.run(own_slot=True)
        assert (own.status, own.success_count) == ("completed", 1)
        log = await w.system_log(own.run_id)
        assert log["sync_batch_at"] - w.now < timedelta(seconds=30)
        # Both observed, each in a slot of its own; the schedule's next slot is no less due for it.
        assert await w.snapshots(w.ids[w.sim.accounts[0].id], log["sync_batch_at"]) == 1
        state = await w.tick(at=w.now + timedelta(minutes=12))
        assert await w.snapshots(w.ids[w.sim.accounts[0].id]) == 1
        assert state.status == "completed"


async def test_the_same_request_gets_the_same_run_however_often_it_asks(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        triggers = await asyncio.gather(*(w.trigger(key="one") for _ in range(4)))
        assert len({t.run_id for t in triggers}) == 1
        assert not any(t.skipped for t in triggers)
        await w.finished(triggers[0].run_id)
        assert await w.trigger(key="one") == triggers[0]
        other = await w.trigger(key="two")
        assert other.reason == "already_ran"
        repeated = await w.trigger(key="two")
        assert (repeated.run_id, repeated.reason) == (other.run_id, "already_ran")
        # A slot later the request is still the one that was answered.
        await w.set_clocks(w.now + timedelta(minutes=15))
        assert (await w.trigger(key="one")).run_id == triggers[0].run_id
        assert await w.lock_is_free()


async def test_a_manual_run_keeps_the_schedule_off_its_account_and_no_other(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        mine, other = (w.ids[account.id] for account in w.sim.accounts)
        async with w.holding(w.sim.accounts[0], "threads") as hold:
            manual = await w.app.sync.trigger_manual(mine, "sync_posts", user_id=w.user, request_key="m")
            assert not manual.skipped
            await reached(hold)
            state = await w.run()
            assert await w.said(state.run_id, mine) == HELD
            assert await w.said(state.run_id, other) == COMPLETED
            assert (state.status, state.success_count, state.skipped_count) == ("completed", 1, 1)
        assert (await w.finished(manual.run_id)).status == "completed"
        await _freed(w)
        assert await w.said((await w.tick()).run_id, mine) == COMPLETED


async def test_a_scheduled_run_keeps_a_manual_one_off_the_account_it_holds(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        mine = w.ids[w.sim.accounts[0].id]
        async with w.holding(None, "threads") as hold:
            scheduled = await w.trigger()
            await reached(hold)
            manual = await w.app.sync.trigger_manual(mine, "sync_metrics", user_id=w.user, request_key="m")
            assert (manual.skipped, manual.reason) == (True, "already_running")
            assert await w.rows(manual.run_id) == {}
            with pytest.raises(KeyHeld):
                await w.app.engine.enqueue("sync_account", {}, key=str(mine))
        await w.finished(scheduled.run_id)
        await _freed(w)
        manual = await w.app.sync.trigger_manual(mine, "sync_metrics", user_id=w.user, request_key="m2")
        assert not manual.skipped
        await w.finished(manual.run_id)


@pytest.mark.parametrize("step", STEPS)
async def test_a_manual_step_runs_alone_by_the_same_rules_and_tells_its_outcome(database_url: str, step: str) -> None:
    async with world(database_url, accounts=1, posts=2) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        await w.run()
        calls = {edge: w.sim.calls.of(edge) for edge in ("posts", "post_insights", "account_insights")}
        await w.set_clocks(w.now + timedelta(minutes=2))
        manual = await w.app.sync.trigger_manual(mine, step, user_id=w.user, request_key="m")  # type: ignore[arg-type]
        state = await w.finished(manual.run_id)
        assert (state.status, state.total_accounts, state.success_count) == ("completed", 1, 1)
        assert [r["status"] for r in state.results] == ["completed"]
        [(account_id, rows)] = (await w.rows(manual.run_id)).items()
        assert (account_id, list(rows)) == (mine, [step])
        assert (rows[step].trigger, rows[step].said) == ("manual", ("completed", None))
        assert timedelta(0) <= rows[step].slot - w.now.replace(microsecond=0) < timedelta(seconds=30)
        asked = {edge for edge, before in calls.items() if w.sim.calls.of(edge) > before}
        assert asked == {dict(zip(STEPS, calls, strict=True))[step]}
        by = await w.db.fetchval("select triggered_by from public.sync_logs where run_id = $1", manual.run_id)
        assert by == w.user
        assert await w.system_log(manual.run_id) is None
        await _freed(w)

        w.sim.faults.add([refusal(10, endpoint=dict(zip(STEPS, calls, strict=True))[step], user=account)])
        await w.set_clocks(w.now + timedelta(minutes=2))
        manual = await w.app.sync.trigger_manual(mine, step, user_id=w.user, request_key="f")  # type: ignore[arg-type]
        state = await w.finished(manual.run_id)
        assert (state.status, state.error_count) == ("failed", 1)
        assert state.results[0]["reason"] == "permission"


async def test_a_manual_run_of_an_unknown_account_is_refused(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        with pytest.raises(InvalidInput):
            await w.app.sync.trigger_manual(uuid4(), "sync_posts", user_id=w.user, request_key="m")
        assert await w.app.sync.state(uuid4()) is None
        assert await w.app.sync.wait(uuid4(), 10) is None
