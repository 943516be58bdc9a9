-- Called by: an account's job when the provider refuses the token or asks for its user. Index: primary key.
-- Fence: the caller's transaction. Answers a row only if the tenant is to be told now: once until connected again.
-- Parameters: account, token_status, reason.
with before as (
  select id, reauth_told_at from public.workspace_threads_accounts where id = $1 for no key update
), marked as (
  update public.workspace_threads_accounts a
  set token_status = $2, token_status_at = tidemill.now(), token_status_reason = $3,
      reauth_told_at = coalesce(a.reauth_told_at, tidemill.now())
  from before b where a.id = b.id
  returning a.id, b.reauth_told_at is null as told_now
)
select id from marked where told_now
