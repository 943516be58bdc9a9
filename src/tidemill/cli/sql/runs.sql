-- Called by: tidemill logs and run status. Index: idx_system_job_logs_started, primary key; unique (run_id, account, job_type).
-- Runs, newest first. A closed run's counts are those it was closed with; an open one's are taken from its accounts' rows.
-- Parameters: run (null = any), only those that did not complete, limit.
select l.id as run_id, l.job_type, l.status, l.trigger, l.skipped_reason as reason, l.sync_batch_at, l.started_at, l.completed_at,
  (coalesce(l.completed_at, clock_timestamp()) - l.started_at) as duration,
  coalesce((l.metadata ->> 'total_accounts')::int, a.total, 0) as total_accounts,
  coalesce((l.metadata ->> 'success_count')::int, a.success, 0) as success_count,
  coalesce((l.metadata ->> 'error_count')::int, a.error, 0) as error_count,
  coalesce((l.metadata ->> 'skipped_count')::int, a.skipped, 0) as skipped_count,
  l.error_message
from (
  select * from public.system_job_logs
  where ($1::uuid is null or id = $1) and (not $2 or status not in ('completed', 'pending', 'running'))
  order by started_at desc limit $3
) l
left join lateral (
  select count(*)::int as total,
    count(*) filter (where completed = n)::int as success,
    count(*) filter (where skipped = n)::int as skipped,
    count(*) filter (where open = 0 and completed < n and skipped < n)::int as error
  from (
    select count(*) as n, count(*) filter (where status = 'completed') as completed,
      count(*) filter (where status = 'skipped') as skipped,
      count(*) filter (where status in ('pending', 'running')) as open
    from public.sync_logs where run_id = l.id group by workspace_threads_account_id
  ) per_account
) a on l.status in ('pending', 'running')
order by l.started_at desc
