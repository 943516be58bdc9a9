-- Called by: RepairRecords: runs that no job of the engine will ever end. Index: idx_sync_jobs_connector, sync_run_logs_open, the
-- engine's primary keys; job_ready has none by id and is read whole, once, where there are candidates.
-- A run that a tick has not yet taken up is not stuck, nor is the one that asks.
-- Parameters: company, connector, the run that asks, whether to close them, how many to name. Fence: the caller's transaction.
with stuck as materialized (
    select r.id, r.job_id from public.sync_run_logs as r
    where r.job_id in (select j.id from public.sync_jobs as j where j.company_id = $1 and j.connector_id = $2)
      and r.status in ('pending', 'running') and r.id <> $3 and (r.engine_job is not null or r.status = 'running')
      and not exists (select from tidemill.job_ready as e where e.id = r.engine_job)
      and not exists (select from tidemill.job_delayed as e where e.id = r.engine_job)
      and not exists (select from tidemill.job_lease as e where e.id = r.engine_job)
),
closed as (
    update public.sync_run_logs as r
    set status = 'failed', reason = 'abandoned', finished_at = c.now,
        error_detail = 'the run was given up without an end; repair has closed it'
    from stuck as s, (select tidemill.now() as now) as c
    where r.id = s.id and r.status in ('pending', 'running') and $4
)
select count(*) as count, (array_agg(id::text order by id))[1:$5] as keys, array_agg(distinct job_id) as jobs from stuck
