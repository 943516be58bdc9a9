-- Called by: SyncJobRuns, after an attempt failed, in a fenced transaction: what it failed of is seen before the next one ends.
-- Index: sync_run_logs_pkey. Fence: the job's lease, in the same transaction. Parameters: the run, the error.
update public.sync_run_logs set error_detail = $2 where id = $1 and status = 'running' returning true
