-- Called by: the manual door. Index: primary keys; idx_workspace_threads_tokens_primary. Parameters: account.
select a.workspace_id, a.username, a.threads_user_id, a.token_status,
  coalesce(t.expires_at > tidemill.now(), false) as live
from public.workspace_threads_accounts a
join public.workspaces w on w.id = a.workspace_id and w.deleted_at is null
left join public.workspace_threads_tokens t
  on t.workspace_threads_account_id = a.id and t.is_primary and t.revoked_at is null
where a.id = $1
