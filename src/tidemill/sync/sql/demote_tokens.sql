-- Called by: connect_account, before the new primary token is inserted. Index: idx_workspace_threads_tokens_account.
-- Fence: the caller's transaction holds the account's row. Parameters: account.
update public.workspace_threads_tokens set is_primary = false
where workspace_threads_account_id = $1 and is_primary and revoked_at is null
