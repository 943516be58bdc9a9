-- Called by: Firing.fire and Asked.take_up, last in their transactions. Index: sync_run_logs_pkey, sync_jobs_pkey.
-- Fence: the transaction holds the jobs. Parameters: runs and their engine's jobs, as arrays (null = its key is held: another tick
-- tries again); the sync jobs.
with attached as (
  update public.sync_run_logs r set engine_job = u.engine_job
  from unnest($1::uuid[], $2::bigint[]) as u (run, engine_job)
  where r.id = u.run and r.status = 'pending' and u.engine_job is not null
)
select tidemill.settle_sync_jobs($3::uuid[])
