-- Called by: tidemill logs with --run, --account or --failed. Index: unique (run_id, account, job_type),
-- idx_sync_logs_account, idx_sync_logs_started.
-- Steps of accounts, newest first. Parameters: run (null = any), accounts (null = any), only those that did not complete, limit.
select l.run_id, a.username, w.name as workspace, l.job_type as step, l.status, l.reason, l.started_at, l.completed_at,
  (coalesce(l.completed_at, clock_timestamp()) - l.started_at) as duration, l.attempt, l.trigger, l.sync_batch_at,
  l.error_message, l.metadata, l.workspace_threads_account_id as account_id
from public.sync_logs l
join public.workspace_threads_accounts a on a.id = l.workspace_threads_account_id
join public.workspaces w on w.id = l.workspace_id
where ($1::uuid is null or l.run_id = $1) and ($2::uuid[] is null or l.workspace_threads_account_id = any ($2))
  and (not $3 or l.status in ('failed', 'partial', 'skipped'))
order by l.started_at desc, a.username, array_position(array['sync_posts', 'sync_metrics', 'sync_account_insights'], l.job_type)
limit $4
