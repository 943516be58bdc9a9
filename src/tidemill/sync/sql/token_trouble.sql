-- Called by: an account's job when the provider refuses the token or asks for its user. Index: primary key;
-- idx_workspace_threads_tokens_primary.
-- Fence: the caller's transaction; nothing is marked once another token has taken the place of the refused one.
-- Answers a row only if the tenant is to be told now: once until connected again.
-- Parameters: account, token_status, reason; id and version of the token.
with before as (
  select a.id, a.reauth_told_at
  from public.workspace_threads_accounts a
  join public.workspace_threads_tokens t
    on t.workspace_threads_account_id = a.id and t.is_primary and t.revoked_at is null
  where a.id = $1 and t.id = $4 and t.version = $5
  for no key update of a, t
), marked as (
  update public.workspace_threads_accounts a
  set token_status = $2, token_status_at = tidemill.now(), token_status_reason = $3,
      reauth_told_at = coalesce(a.reauth_told_at, tidemill.now())
  from before b where a.id = b.id
  returning a.id, b.reauth_told_at is null as told_now
)
select id from marked where told_now
