"""What is written for a company's accounts and to keep logs small, as further paths of :mod:`tests.engine.fenced`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.engine.fenced import Home, Path, begin_run, files, sync_job
from tidemill.engine import Job, seal_batch
from tidemill.sync import company, retention
from tidemill.sync.company_repair import CompanyRepair
from tidemill.sync.company_replay import CompanyReplay
from tidemill.sync.jobs import Run
from tidemill.sync.layers import DayViews
from tidemill.sync.telling import Telling

_begun: dict[int, Run] = {}
"""By job: what its handler was given when it was begun."""


async def run_over_accounts(h: Home) -> Job:
    """Beside it: a snapshot without a difference, a post, and a log row that no job stands for."""
    job = await sync_job(h)
    run = _begun[job.id] = (await begin_run(h, job)).run
    await h.db.execute("update public.workspaces set company_id = $2 where id = $1", h.workspace, run.company)
    await h.db.execute(
        "insert into public.workspace_threads_account_insights"
        " (workspace_id, workspace_threads_account_id, followers_count, sync_batch_at) values ($1, $2, 7, now())",
        h.workspace,
        h.accounts[0],
    )
    await h.db.execute(
        "insert into public.workspace_threads_posts"
        " (workspace_id, workspace_threads_account_id, threads_post_id, published_at) values ($1, $2, 'p', now())",
        h.workspace,
        h.accounts[0],
    )
    await h.db.execute(
        "insert into public.sync_logs (run_id, workspace_id, workspace_threads_account_id, job_type)"
        " values (gen_random_uuid(), $1, $2, 'sync_posts')",
        h.workspace,
        h.accounts[0],
    )
    return job


async def repair(h: Home, job: Job) -> object:
    return await CompanyRepair().run(replace(_begun[job.id], ctx=h.context(job), payload={}, actions=[]))


async def replay(h: Home, job: Job) -> None:
    rooms = h.app
    run = replace(_begun[job.id], ctx=h.context(job), payload={"mode": "overwrite"})
    days = [DayViews(datetime(2026, 5, 1, 7, tzinfo=UTC), 3)]
    row: Any = {"id": h.accounts[0], "workspace_id": h.workspace}
    made: Any = CompanyReplay(rooms.connectors["threads"], rooms.http, rooms.http.gate, rooms.vault, "1")
    await made._write(run, row, days, await Telling.load(run), "2026-05-01")


async def closing_accounts(h: Home) -> Job:
    """A run that ended before its accounts did, one of which has left a row open."""
    run = (await begin_run(h, await sync_job(h))).run
    async with h.db.transaction() as conn:
        deadline = datetime.now(UTC) + company.DEADLINE
        await h.engine.open_batch(conn, on_close=company.CLOSE, args={}, deadline=deadline, batch=run.id)
        await conn.execute(
            "insert into public.sync_logs (run_id, workspace_id, workspace_threads_account_id, job_type)"
            " values ($1, $2, $3, 'sync_posts')",
            run.id,
            h.workspace,
            h.accounts[0],
        )
        await conn.execute("update public.sync_run_logs set status = 'partial', finished_at = now()")
        await seal_batch(conn, run.id)
    return await h.claimed(company.CLOSE)


async def close_accounts(h: Home, job: Job) -> object:
    return await company.CompanyAccounts(h.engine).close(h.context(job), job.args)


async def old_logs(h: Home) -> Job:
    await h.db.execute(
        "insert into public.system_job_logs (job_type, status, started_at, completed_at)"
        " values ('scheduled_sync', 'completed', now() - interval '40 days', now() - interval '40 days')"
    )
    await h.engine.enqueue(retention.KIND)
    return await h.claimed(retention.KIND)


async def prune(h: Home, job: Job) -> object:
    return await retention.LogRetention(30)(h.context(job), {})


PATHS = {
    "a company's accounts are repaired": Path(
        run_over_accounts,
        repair,
        files("sync/sql/", "rows_abandoned", "run_actions_add")
        | files("sync/layers/sql/", "post_metrics_repair", "account_insights_repair"),
    ),
    "a company's accounts are replayed": Path(
        run_over_accounts,
        replay,
        files("sync/sql/", "run_actions_add") | files("sync/layers/sql/", "views_days_replay"),
    ),
    "a company's accounts are closed": Path(
        closing_accounts,
        close_accounts,
        files("engine/sql/", "batch_close") | files("sync/sql/", "run_sweep", "run_recount"),
    ),
    "logs are pruned": Path(old_logs, prune, files("sync/sql/", "staged_prune", "logs_prune", "credentials_prune")),
}
