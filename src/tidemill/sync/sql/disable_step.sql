-- Called by: an account's job when a permission is missing: the step waits until the account is connected again.
-- Index: primary key. Fence: the caller's transaction. Parameters: account, step.
update public.workspace_threads_accounts set disabled_steps = disabled_steps || $2::text
where id = $1 and not disabled_steps @> array[$2::text]
