-- Called by: a big step, with each batch it commits before its last: counts and the first miss survive a retry.
-- Index: unique (run_id, account, job_type). Fence: the caller's transaction.
-- Parameters: run, account, step, metadata, error.
update public.sync_logs set metadata = $4, error_message = coalesce($5, error_message)
where run_id = $1 and workspace_threads_account_id = $2 and job_type = $3
