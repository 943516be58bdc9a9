-- Called by: opening a run: a repeated request (a retried job or POST) gets the run it already has.
-- Index: idx_system_job_logs_request. Parameters: job type, request key.
select id, status, skipped_reason from public.system_job_logs where job_type = $1 and request_key = $2
