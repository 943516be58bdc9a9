-- Called by: tidemill sync-jobs run, pause, resume, cancel, and replay and repair. Index: primary key.
-- Fence: the function locks the job. Parameters: job, action.
select status, run_id, already from public.sync_job_control($1, $2)
