-- Called by: POST /sync-jobs/{id}/{run,pause,resume,cancel}, inside tenant_session(): the function checks the claims itself.
-- Index: sync_jobs' primary key. Fence: the function locks the job. Parameters: job, action.
select status, run_id, already from public.sync_job_control($1, $2)
