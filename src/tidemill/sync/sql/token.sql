-- Called by: an account's job when the provider refuses the token: a refresh may have replaced it meanwhile.
-- Index: idx_workspace_threads_tokens_primary. Parameters: account.
select id, version, access_token_encrypted as sealed
from public.workspace_threads_tokens
where workspace_threads_account_id = $1 and is_primary and revoked_at is null and expires_at > tidemill.now()
