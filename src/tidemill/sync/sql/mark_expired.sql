-- Called by: the fan-out, for accounts whose token has expired. Index: primary key.
-- Fence: the chunk's fenced transaction. The answer names those who are told now: each account once. Parameters: accounts.
with told as (
  update public.workspace_threads_accounts
  set token_status = 'expired', token_status_at = tidemill.now(), token_status_reason = 'the token has expired',
      reauth_told_at = tidemill.now()
  where id = any ($1::uuid[]) and token_status not in ('expired', 'invalid')
  returning id, username, workspace_id
)
select id, username, workspace_id from told
