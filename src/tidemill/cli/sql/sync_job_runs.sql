-- Called by: tidemill sync-jobs runs. Index: idx_sync_run_logs_job. Parameters: company, job, limit.
select id, job_id, job_type, trigger, fire_at, status, reason, attempt, started_at, finished_at, metrics, error_detail, applied_actions,
  coalesce(finished_at, clock_timestamp()) - started_at as duration
from public.sync_run_logs
where company_id = $1 and job_id = $2
order by started_at desc, id desc
limit $3
