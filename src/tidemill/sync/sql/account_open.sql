-- Called by: an account's job, first thing: passes the fence, marks the step about to run, and reads what the job needs.
-- Index: primary keys; idx_workspace_threads_tokens_primary; unique (run_id, account, job_type); scope_pkey.
-- Fence: tidemill.fence in the same statement. Parameters: job, token, node; account, run, names of scopes, attempt.
with fenced as materialized (
  select tidemill.fence($1, $2, $3)
), steps as materialized (
  select id, job_type, status, metadata from public.sync_logs where run_id = $5 and workspace_threads_account_id = $4
), begun as (
  update public.sync_logs l set status = 'running', started_at = clock_timestamp(), attempt = $7
  where l.id = (
      select id from steps where status in ('pending', 'running')
      order by array_position(array['sync_posts', 'sync_metrics', 'sync_account_insights'], job_type) limit 1)
    and (select count(*) from fenced) = 1
  returning l.id
)
select a.workspace_id, a.username, a.threads_user_id, a.token_status, a.disabled_steps, a.posts_watermark,
  w.deleted_at is null and a.is_active as wanted,
  t.id as token_id, t.version as token_version, t.access_token_encrypted as sealed, t.expires_at > tidemill.now() as live,
  (select jsonb_object_agg(job_type, jsonb_build_array(status, metadata)) from steps) as steps,
  (select jsonb_object_agg(s.name, jsonb_build_array(extract(epoch from s.blocked_until - tidemill.now()), s.reason))
   from tidemill.scope s where s.name = any ($6::text[]) and s.blocked_until > tidemill.now()) as blocks,
  (select count(*) from begun) as begun
from public.workspace_threads_accounts a
join public.workspaces w on w.id = a.workspace_id
left join public.workspace_threads_tokens t
  on t.workspace_threads_account_id = a.id and t.is_primary and t.revoked_at is null
where a.id = $4 and (select count(*) from fenced) = 1
