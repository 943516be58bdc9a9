-- Called by: connect_account. Index: idx_workspace_threads_tokens_primary lets one live primary token stand.
-- Fence: the caller's transaction. Parameters: id, account, user, sealed token, lifetime.
insert into public.workspace_threads_tokens
  (id, workspace_threads_account_id, authorized_by_user_id, access_token_encrypted, issued_at, expires_at)
values ($1, $2, $3, $4, tidemill.now(), tidemill.now() + $5)
