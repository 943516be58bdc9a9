-- Called by: the fan-out, a page at a time. Index: idx_workspace_threads_accounts_active (id, where is_active).
-- Fence: read in the chunk's fenced transaction. By the database's clock. Parameters: after id (null = first), slot, limit.
select a.id, a.workspace_id, a.username, a.threads_user_id,
  case when t.expires_at <= tidemill.now() then 'token_expired' when a.token_status = 'invalid' then 'token_invalid' end as unfit
from public.workspace_threads_accounts a
join public.workspaces w on w.id = a.workspace_id
join public.workspace_threads_tokens t on t.workspace_threads_account_id = a.id and t.is_primary and t.revoked_at is null
where a.is_active and w.deleted_at is null
  and ($1::uuid is null or a.id > $1)
  and (a.min_sync_interval is null or a.last_sync_batch_at is null or a.last_sync_batch_at + a.min_sync_interval <= $2)
order by a.id
limit $3
