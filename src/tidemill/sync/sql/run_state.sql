-- Called by: Sync.wait and everybody who shows a run. Index: primary key. Parameters: run.
select id, status, started_at, completed_at, metadata, skipped_reason from public.system_job_logs where id = $1
