-- Called by: Sync.wait for a run that has no system log: one that a user started. Index: unique (run_id, account, job_type).
-- Parameters: run.
select min(started_at) as started_at, max(completed_at) as completed_at,
  bool_and(status not in ('pending', 'running')) as final
from public.sync_logs where run_id = $1
having count(*) > 0
