-- Called by: Sync.wait, twice a second and more. Index: system_job_logs_pkey; unique (run_id, account, job_type).
-- Null = there is no such run. Parameters: run.
select coalesce(
  (select completed_at is not null from public.system_job_logs where id = $1),
  (select bool_and(status not in ('pending', 'running')) from public.sync_logs where run_id = $1))
