-- Called by: tidemill run status, for a run that a user started by hand: it has no row in system_job_logs.
-- Index: unique (run_id, account, job_type). Parameters: run.
select l.run_id, min(l.job_type) as job_type,
  case when bool_or(l.status in ('pending', 'running')) then 'running' else min(l.status) end as status,
  min(l.trigger) as trigger, min(l.reason) as reason, min(l.sync_batch_at) as sync_batch_at, min(l.started_at) as started_at,
  max(l.completed_at) as completed_at, coalesce(max(l.completed_at), clock_timestamp()) - min(l.started_at) as duration,
  1 as total_accounts, bool_and(l.status = 'completed')::int as success_count,
  bool_or(l.status in ('partial', 'failed'))::int as error_count, bool_and(l.status = 'skipped')::int as skipped_count, min(l.error_message) as error_message
from public.sync_logs l where l.run_id = $1 group by l.run_id
