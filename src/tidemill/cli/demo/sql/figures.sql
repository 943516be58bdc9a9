-- Called by: the demo's summary. Index: none; the demo's tables are small. Parameters: none.
select (select count(*) from public.workspace_threads_posts) as posts,
  (select count(*) from public.workspace_threads_post_metrics_live) as snapshots,
  (select count(*) from public.workspace_threads_account_insights_live) as account_snapshots,
  (select count(*) from public.workspace_threads_post_metrics_deltas) as deltas,
  (select count(*) from public.workspace_threads_account_insights_deltas) as account_deltas,
  (select count(*) from public.workspace_threads_posts where last_sync_batch_at is not null) as current,
  (select count(*) from public.workspace_threads_accounts where last_insights_sync_at is not null) as accounts_current
