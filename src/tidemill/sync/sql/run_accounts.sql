-- Called by: the closing job and everybody who shows a run: what each account came to, the worst first.
-- Index: unique (run_id, account, job_type). Parameters: run, most results.
-- The rule is CONTRACTS' own: all completed → completed; all skipped → skipped; some good or any partial → partial; else failed.
with accounts as (
  select l.workspace_threads_account_id as account,
    case
      when bool_and(l.status = 'completed') then 'completed'
      when bool_and(l.status = 'skipped') then 'skipped'
      when bool_or(l.status in ('pending', 'running')) then 'running'
      when bool_or(l.status in ('completed', 'partial')) then 'partial'
      else 'failed' end as status,
    sum((l.metadata ->> 'posts_synced')::int) as posts_synced,
    sum((l.metadata ->> 'metrics_updated')::int) as metrics_success,
    sum((l.metadata ->> 'metrics_missing')::int) as metrics_error,
    bool_or(l.job_type = 'sync_account_insights' and l.status = 'completed') as insights_synced,
    (array_agg(l.reason order by l.started_at) filter (where l.reason is not null))[1] as reason,
    (array_agg(l.error_message order by l.started_at) filter (where l.error_message is not null))[1] as error
  from public.sync_logs l where l.run_id = $1
  group by l.workspace_threads_account_id
), shown as (
  select a.*, w.username from accounts a join public.workspace_threads_accounts w on w.id = a.account
  order by array_position(array['failed', 'partial', 'skipped', 'running', 'completed'], a.status), w.username
  limit $2
)
select
  (select count(*) from accounts)::int as total,
  (select count(*) from accounts where status = 'completed')::int as completed,
  (select count(*) from accounts where status = 'partial')::int as partial,
  (select count(*) from accounts where status = 'failed')::int as failed,
  (select count(*) from accounts where status = 'skipped')::int as skipped,
  coalesce((select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
    'account_id', account, 'username', username, 'status', status, 'posts_synced', coalesce(posts_synced, 0),
    'metrics_success', coalesce(metrics_success, 0), 'metrics_error', coalesce(metrics_error, 0),
    'insights_synced', coalesce(insights_synced, false), 'reason', reason, 'error', error))) from shown), '[]') as results
