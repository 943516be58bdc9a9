-- Called by: connect_account. Index: unique (workspace_id, threads_user_id). Fence: none, a user's own act.
-- Parameters: workspace, provider's user id, username, name, biography, picture, verified, token lifetime.
insert into public.workspace_threads_accounts as a
  (workspace_id, threads_user_id, username, name, biography, profile_pic_url, is_verified, is_active,
   token_status, token_status_at, token_expires_at)
values ($1, $2, $3, $4, $5, $6, $7, true, 'valid', tidemill.now(), tidemill.now() + $8)
on conflict (workspace_id, threads_user_id) do update
  set username = excluded.username, name = excluded.name, biography = excluded.biography,
      profile_pic_url = excluded.profile_pic_url, is_verified = excluded.is_verified, is_active = true,
      token_status = 'valid', token_status_at = excluded.token_status_at, token_status_reason = null,
      token_expires_at = excluded.token_expires_at, reauth_told_at = null, disabled_steps = '{}'
returning id, username
