-- Called by: commands that follow a run. Index: primary key. Parameters: id.
select id, job_id, job_type, trigger, fire_at, status, reason, attempt, started_at, finished_at, metrics, error_detail, applied_actions,
  coalesce(finished_at, clock_timestamp()) - started_at as duration
from public.sync_run_logs
where id = $1
