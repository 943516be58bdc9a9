-- Called by: a big step, with each batch it commits before its last: counts survive a retry.
-- Index: unique (run_id, account, job_type). Fence: the caller's transaction. Parameters: run, account, step, metadata.
update public.sync_logs set metadata = $4 where run_id = $1 and workspace_threads_account_id = $2 and job_type = $3
