-- Called by: tidemill accounts. Index: primary keys; idx_workspace_threads_posts_account_published for the counts.
-- Parameters: workspace, as its id or name (null = all), limit. By Tidemill's clock: a token is expired when it says so.
with clock as materialized (select tidemill.now() as now)
select a.id as account_id, a.username, w.name as workspace, a.workspace_id, a.is_active,
  case when a.token_status in ('valid', 'user_action') and a.token_expires_at <= clock.now then 'expired' else a.token_status end
    as token_status,
  a.token_expires_at, a.last_sync_batch_at, a.current_followers_count as followers,
  (select count(*) from public.workspace_threads_posts p where p.workspace_threads_account_id = a.id) as posts,
  a.disabled_steps
from public.workspace_threads_accounts a
join public.workspaces w on w.id = a.workspace_id and w.deleted_at is null
cross join clock
where $1::text is null or w.name = $1 or w.id::text = lower($1)
order by w.name, a.username
limit $2
