"""What is written for a company's accounts and to keep logs small, as further paths of :mod:`tests.engine.fenced`."""

from __future__ import annotations

from dataclasses import replace

from tests.engine.fenced import Home, Path, begin_run, files, sync_job
from tidemill.engine import Job
from tidemill.sync import retention
from tidemill.sync.company_repair import CompanyRepair
from tidemill.sync.jobs import Run

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
    "logs are pruned": Path(old_logs, prune, files("sync/sql/", "logs_prune", "staged_prune")),
}
