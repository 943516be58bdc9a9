"""A company's sync job over its Threads accounts: the same path as every sync, counted by the company."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.sync.support import START, STEPS, World, reached, until, world
from tidemill.engine.cancel import cancel_batches
from tidemill.sync import company, company_repair
from tidemill.sync.layers import repair_post_metrics


async def own(w: World, workspace: UUID) -> UUID:
    """A company that has this workspace; its connector."""
    company_id = await w.db.fetchval(
        "insert into public.companies (code, name) values (gen_random_uuid()::text::varchar(32), 'c') returning id"
    )
    await w.db.execute("update public.workspaces set company_id = $2 where id = $1", workspace, company_id)
    return await w.db.fetchval(
        "insert into public.integration_connectors (company_id, provider) values ($1, 'threads') returning id",
        company_id,
    )


async def add_job(w: World, connector: UUID, job_type: str = "sync", **payload: Any) -> UUID:
    return await w.db.fetchval(
        "insert into public.sync_jobs (company_id, connector_id, job_type, payload)"
        " select company_id, id, $2, $3 from public.integration_connectors where id = $1 returning id",
        connector,
        job_type,
        payload,
    )


async def ran(w: World, job: UUID) -> Any:
    """The row of a run that somebody asks for, once it has ended."""
    run = await w.db.fetchval("select run_id from public.sync_job_control($1, 'run')", job)

    async def ended() -> Any:
        return await w.db.fetchrow("select * from public.sync_run_logs where id = $1 and finished_at is not null", run)

    return await until(ended, "the end of the run")


async def test_a_companys_job_syncs_the_accounts_of_its_workspaces_and_no_others(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=2, connected=False) as w:
        elsewhere = await w.add_workspace()
        first, second, third = w.sim.accounts
        await w.connect(first)
        await w.connect(second)
        await w.connect(third, workspace=elsewhere)
        connector = await own(w, w.workspace)
        run = await ran(w, await add_job(w, connector))
        assert (run["status"], run["reason"], run["error_detail"]) == ("completed", None, None)
        assert (run["metrics"]["total_accounts"], run["metrics"]["completed"]) == (2, 2)
        rows = await w.rows(run["id"])
        assert set(rows) == {w.ids[first.id], w.ids[second.id]}
        assert all(list(steps) == list(STEPS) for steps in rows.values())
        [slot] = {row.slot for steps in rows.values() for row in steps.values()}
        assert START <= slot < START + timedelta(minutes=5)  # the clock goes on
        assert await w.snapshots(w.ids[first.id], slot) == 2
        assert await w.snapshots(w.ids[third.id], slot) == 0


async def test_accounts_that_cannot_be_synced_make_the_run_partial_or_failed(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1, connected=False) as w:
        good, bad = w.sim.accounts
        await w.connect(good)
        await w.connect(bad)
        connector = await own(w, w.workspace)
        job = await add_job(w, connector)
        await w.db.execute(
            "update public.workspace_threads_accounts set token_status = 'invalid' where id = $1", w.ids[bad.id]
        )
        run = await ran(w, job)
        assert (run["status"], run["metrics"]["completed"], run["metrics"]["skipped"]) == ("completed", 1, 1)
        await w.db.execute("update public.workspace_threads_accounts set token_status = 'invalid'")
        run = await ran(w, job)
        assert (run["status"], run["reason"]) == ("skipped", "all_skipped")


async def test_some_workspaces_can_be_named_and_a_bad_name_is_told(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        connector = await own(w, w.workspace)
        other = await w.add_workspace()
        run = await ran(w, await add_job(w, connector, workspaces=[str(other)]))
        assert (run["status"], run["metrics"]["total_accounts"]) == ("completed", 0)
        job = await add_job(w, connector, workspaces="all")

        async def told() -> Any:
            return await w.db.fetchval("select plan_error from public.sync_jobs where id = $1", job)

        assert "payload.workspaces" in await until(told, "the refusal of the payload")


async def test_an_account_that_another_run_has_is_skipped(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        connector = await own(w, w.workspace)
        job = await add_job(w, connector)
        async with w.holding(None, "threads") as hold:
            system = await w.trigger()
            await hold.reached.wait()
            run = await ran(w, job)
            assert (run["status"], run["metrics"]["results"][0]["reason"]) == ("skipped", "already_running")
        assert (await w.finished(system.run_id)).status == "completed"


async def test_a_run_that_is_cancelled_takes_its_accounts_with_it_and_counts_them_once_they_ended(
    database_url: str,
) -> None:
    async with world(database_url, accounts=3, posts=1, accounts_at_once=1) as w:
        connector = await own(w, w.workspace)
        job = await add_job(w, connector)
        async with w.holding(None, "threads") as hold:
            run = await w.db.fetchval("select run_id from public.sync_job_control($1, 'run')", job)
            await reached(hold)  # one account is at the provider's door, two wait
            await w.db.execute("select public.sync_job_control($1, 'cancel')", job)

            async def closed() -> Any:
                return await w.db.fetchval("select state = 'closed' from tidemill.batch where id = $1", run)

            await until(closed, "the end of all accounts")
        row = await w.db.fetchrow("select * from public.sync_run_logs where id = $1", run)
        assert (row["status"], row["reason"], row["metrics"]["total_accounts"]) == ("partial", "cancelled", 3)
        assert row["metrics"]["skipped"] == 3
        assert await w.db.fetchval("select status from public.sync_jobs where id = $1", job) == "idle"
        said = {said for account in w.ids.values() for said in await w.said(run, account)}
        assert said == {("skipped", "cancelled")}

        async def forgotten() -> Any:
            return await w.db.fetchval("select not exists (select from tidemill.job_cancel)")

        await until(forgotten, "the end of the asks")
        again = await ran(w, job)
        assert (again["status"], again["metrics"]["completed"]) == ("completed", 3)


async def test_a_run_cancelled_while_it_adds_accounts_leaves_no_batch_open(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        run, later = uuid4(), w.now + company.DEADLINE
        async with w.db.transaction() as conn:
            await w.app.engine.open_batch(conn, on_close=company.CLOSE, args={}, deadline=later, batch=run)
        async with w.db.transaction() as conn:
            assert await cancel_batches(conn, [run, uuid4()], by="ann") == [run]

        async def closed() -> Any:
            return await w.db.fetchval("select state = 'closed' from tidemill.batch where id = $1", run)

        await until(closed, "the end of the batch")
        async with w.db.transaction() as conn:
            assert await cancel_batches(conn, [run], by="ann") == []


async def test_a_repair_mends_the_layers_tells_what_it_did_and_what_nobody_can_mend(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=3) as w:
        await w.run()
        await w.tick()
        [account_id] = w.ids.values()
        connector = await own(w, w.workspace)
        before = await w.db.fetch("select * from public.workspace_threads_post_metrics_deltas order by 2, 4")
        wrong = sum(row["views_delta"] is not None for row in before)
        assert wrong
        await w.db.execute("update public.workspace_threads_post_metrics_deltas set views_delta = views_delta + 1")
        await w.db.execute("update public.workspace_threads_accounts set current_followers_count = -7")
        await w.db.execute(
            "insert into public.sync_logs (run_id, workspace_id, workspace_threads_account_id, job_type, status,"
            " sync_batch_at, reason, completed_at) values"
            " (gen_random_uuid(), $1, $2, 'sync_account_insights', 'failed', '2026-01-01Z', 'provider', now()),"
            " (gen_random_uuid(), $1, $2, 'sync_posts', 'running', '2026-01-01Z', null, null)",
            w.workspace,
            account_id,
        )
        dry = await ran(w, await add_job(w, connector, "repair", dry_run=True))
        assert (dry["status"], dry["reason"]) == ("partial", "unrecoverable")
        assert dry["metrics"]["counts"] == {"found": wrong + 2, "unrecoverable": 1, "accounts": 1}
        mended = await ran(w, await add_job(w, connector, "repair"))
        assert mended["metrics"]["counts"] == {"mended": wrong + 2, "unrecoverable": 1, "accounts": 1}
        assert [(a["finding"], a["action"], a["count"]) for a in mended["applied_actions"]] == [
            ("difference_wrong", "mended", wrong),
            ("newest_wrong", "mended", 1),
            ("run_abandoned", "mended", 1),
            ("slot_missing", "unrecoverable", 1),
        ]
        after = await w.db.fetch("select * from public.workspace_threads_post_metrics_deltas order by 2, 4")
        assert [row["views_delta"] for row in after] == [row["views_delta"] for row in before]
        assert await w.db.fetchval("select min(current_followers_count) from public.workspace_threads_accounts") >= 0
        assert await w.db.fetchval("select count(*) from public.sync_logs where status = 'running'") == 0
        again = await ran(w, await add_job(w, connector, "repair"))
        assert again["metrics"]["counts"] == {"unrecoverable": 1, "accounts": 1}


async def test_a_dry_repair_that_is_cut_off_within_an_account_counts_nothing_twice(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company_repair, "POSTS", 1)
    pages = 0

    async def cut(conn: Any, posts: Any, *, mend: bool) -> Any:
        nonlocal pages
        pages += 1
        if pages in (3, 5):
            raise RuntimeError("the attempt ends here")
        return await repair_post_metrics(conn, posts, mend=mend)

    monkeypatch.setattr(company_repair, "repair_post_metrics", cut)
    async with world(database_url, accounts=2, posts=3) as w:
        await w.run()
        await w.tick()
        wrong = await w.db.fetch(
            "update public.workspace_threads_post_metrics_deltas set views_delta = views_delta + 1"
            " where views_delta is not null returning 1"
        )
        run = await ran(w, await add_job(w, await own(w, w.workspace), "repair", dry_run=True))
        assert (run["status"], run["attempt"], pages) == ("completed", 3, 8)
        assert run["metrics"]["counts"] == {"found": len(wrong), "accounts": 2}
        assert sum(action["count"] for action in run["applied_actions"]) == len(wrong)


async def test_a_repair_whose_time_is_up_goes_on_behind_the_accounts_that_are_through(database_url: str) -> None:
    async with world(database_url, accounts=3, posts=1, sync_job_budget_s=0.000001) as w:
        connector = await own(w, w.workspace)
        run = await ran(w, await add_job(w, connector, "repair"))
        assert (run["status"], run["metrics"]["counts"]["accounts"], run["error_detail"]) == ("completed", 3, None)
        assert run["attempt"] == 4  # one account each, and one that finds nothing left


async def test_what_is_left_at_the_deadline_is_skipped(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        connector = await own(w, w.workspace)
        job = await add_job(w, connector)
        async with w.holding(None, "threads") as hold:
            run = await w.db.fetchval("select run_id from public.sync_job_control($1, 'run')", job)
            await hold.reached.wait()
            await w.set_clocks(w.now + company.DEADLINE)

            async def ended() -> Any:
                return await w.db.fetchrow(
                    "select * from public.sync_run_logs where id = $1 and finished_at is not null", run
                )

            row = await until(ended, "the end of the run")
            assert (row["status"], row["metrics"]["results"][0]["reason"]) == ("skipped", "deadline")
