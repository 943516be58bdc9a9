-- Called by: the demo's audit. Index: none; the demo's tables are small. Parameters: none.
select (select count(distinct threads_post_id) from public.workspace_threads_posts) as posts,
  (select count(*) from public.workspace_threads_post_metrics) as snapshots,
  (select count(*) from public.workspace_threads_account_insights) as account_snapshots,
  (select count(distinct workspace_threads_post_id) from public.workspace_threads_post_metrics) as posts_with_snapshot,
  (select count(distinct workspace_threads_account_id) from public.workspace_threads_account_insights) as accounts_with_snapshot,
  (select coalesce(sum((metadata ->> 'metrics_updated')::int), 0) from public.sync_logs) as snapshots_logged,
  (select count(*) from public.sync_logs where job_type = 'sync_account_insights' and status = 'completed') as insights_logged,
  (select coalesce(sum((metadata ->> 'api_calls')::int), 0) from public.sync_logs) as calls_logged,
  (select count(*) from public.sync_logs where completed_at is null)
    + (select count(*) from public.system_job_logs where completed_at is null) as left_open,
  (select count(*) from public.workspace_threads_posts p
   join lateral (
     select views from public.workspace_threads_post_metrics_live m
     where m.workspace_threads_post_id = p.id and views is not null order by sync_batch_at desc limit 1) newest on true
   where p.current_views is distinct from newest.views) as stale
