-- Called by: a company's sync of its accounts, a page at a time. Index: workspaces' (company_id, id), accounts by workspace.
-- Fence: read in the page's fenced transaction. By the database's clock.
-- Parameters: company, workspaces (null = all of its), after id (null = first), slot, limit.
select a.id, a.workspace_id, a.username, a.threads_user_id,
  case when t.expires_at <= tidemill.now() then 'token_expired' when a.token_status = 'invalid' then 'token_invalid' end as unfit
from public.workspaces w
join public.workspace_threads_accounts a on a.workspace_id = w.id
join public.workspace_threads_tokens t on t.workspace_threads_account_id = a.id and t.is_primary and t.revoked_at is null
where w.company_id = $1 and w.deleted_at is null and ($2::uuid[] is null or w.id = any ($2))
  and a.is_active
  and ($3::uuid is null or a.id > $3)
  and (a.min_sync_interval is null or a.last_sync_batch_at is null or a.last_sync_batch_at + a.min_sync_interval <= $4)
order by a.id
limit $5
