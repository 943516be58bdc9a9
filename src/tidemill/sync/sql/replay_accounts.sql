-- Called by: the replay of a company's accounts, a page at a time. Index: workspaces' (company_id, id), accounts by workspace,
-- idx_workspace_threads_tokens_primary. Fence: none; it only looks.
-- Parameters: company, workspaces (null = all of its), after id (null = first), limit.
select a.id, a.username, a.workspace_id, a.threads_user_id, t.id as token_id, t.version as token_version, t.access_token_encrypted as sealed,
  case when t.expires_at > tidemill.now() then case when a.token_status = 'invalid' then 'token_invalid' end else 'token_expired' end as unfit
from public.workspaces w
join public.workspace_threads_accounts a on a.workspace_id = w.id
left join public.workspace_threads_tokens t on t.workspace_threads_account_id = a.id and t.is_primary and t.revoked_at is null
where w.company_id = $1 and w.deleted_at is null and ($2::uuid[] is null or w.id = any ($2))
  and a.is_active
  and ($3::uuid is null or a.id > $3)
order by a.id
limit $4
