-- Called by: doctor. Index: idx_workspace_threads_tokens_primary. Parameters: none.
select t.id, a.workspace_id, t.access_token_encrypted as sealed
from public.workspace_threads_tokens t join public.workspace_threads_accounts a on a.id = t.workspace_threads_account_id
where t.is_primary and t.revoked_at is null
order by t.created_at desc limit 1
