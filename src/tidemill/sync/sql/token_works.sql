-- Called by: an account's job when a step succeeds whose user was asked to act: they have. Index: primary key.
-- Fence: the caller's transaction. Parameters: account.
update public.workspace_threads_accounts
set token_status = 'valid', token_status_at = tidemill.now(), token_status_reason = null, reauth_told_at = null
where id = $1 and token_status = 'user_action'
