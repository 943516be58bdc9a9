-- Called by: tidemill logs --account. Parameters: account, as its id, its username, or the provider's id.
select id from public.workspace_threads_accounts where id::text = lower($1) or username = $1 or threads_user_id = $1
