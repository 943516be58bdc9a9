-- Called by: the closing job: no row of a closed run is left open, whatever became of its job.
-- Index: unique (run_id, account, job_type). Fence: the caller's transaction. Parameters: run, status, reason.
update public.sync_logs set status = $2, reason = $3, completed_at = clock_timestamp()
where run_id = $1 and status in ('pending', 'running')
