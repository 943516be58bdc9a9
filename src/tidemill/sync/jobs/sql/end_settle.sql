-- Called by: end_runs, last. Index: sync_jobs_pkey, sync_run_logs_open. Fence: the transaction holds the jobs.
-- What waited for these runs to end is told of; nothing is, where nothing waits. Parameter: jobs.
select tidemill.settle_sync_jobs($1::uuid[]), (
  select pg_notify('tidemill_due', 'sync_jobs')
  where exists (
    select from public.sync_jobs j
    where j.id = any ($1::uuid[]) and (
      j.next_run_at <= (select tidemill.now())
      or exists (
        select from public.sync_run_logs r where r.job_id = j.id and r.status in ('pending', 'running') and r.engine_job is null)))
)
