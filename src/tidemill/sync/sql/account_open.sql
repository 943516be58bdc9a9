-- Called by: open_accounts, for accounts whose jobs begin: passes the fence, marks each one's first open step as running, and reads
-- what the job needs. Index: primary keys; idx_workspace_threads_tokens_primary; unique (run_id, account, job_type); budget_pkey.
-- Fence: as fence_held; a job that has lost its lease gets no row. Parameters, arrays side by side: job, token, node; run, account, the
-- names of its scopes (app, account), attempt.
with clock as materialized (
  select tidemill.now() as now
), held as materialized (
  select asked.* from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::int[])
    as asked (job, token, node, run, account, app_scope, own_scope, attempt)
  join tidemill.job_lease l on l.id = asked.job and l.token = asked.token and l.node = asked.node
  join tidemill.node n on n.id = l.node and n.expires_at > clock_timestamp()
  order by l.id
  for share of l
), steps as materialized (
  select h.job, jsonb_object_agg(s.job_type, jsonb_build_array(s.status, s.metadata)) as steps,
    (array_agg(s.id order by array_position(array['sync_posts', 'sync_metrics', 'sync_account_insights'], s.job_type))
       filter (where s.status in ('pending', 'running')))[1] as first
  from held h join public.sync_logs s on s.run_id = h.run and s.workspace_threads_account_id = h.account
  group by h.job
), begun as (
  update public.sync_logs l set status = 'running', started_at = clock_timestamp(), attempt = h.attempt
  from steps s join held h on h.job = s.job
  where l.id = s.first
)
select h.job, a.workspace_id, a.username, a.threads_user_id, a.token_status, a.disabled_steps, a.posts_watermark,
  w.deleted_at is null and a.is_active as wanted,
  t.id as token_id, t.version as token_version, t.access_token_encrypted as sealed, t.expires_at > clock.now as live,
  s.steps,
  (select jsonb_object_agg(b.scope, jsonb_build_array(b.most is not null,
       case when b.blocked_until > clock.now then extract(epoch from b.blocked_until - clock.now) end, b.reason,
       case when b.slow_until > clock.now then b.share end,
       case when b.slow_until > clock.now then extract(epoch from b.slow_until - clock.now) end))
   from tidemill.budget b where b.scope in (h.app_scope, h.own_scope)) as standings
from clock cross join held h
left join steps s on s.job = h.job
left join public.workspace_threads_accounts a on a.id = h.account
left join public.workspaces w on w.id = a.workspace_id
left join public.workspace_threads_tokens t
  on t.workspace_threads_account_id = a.id and t.is_primary and t.revoked_at is null
