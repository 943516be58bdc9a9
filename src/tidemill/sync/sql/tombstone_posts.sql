-- Called by: the metrics step, for posts that the provider denies. Index: primary key. Fence: the caller's transaction.
-- Parameters: workspace, posts.
update public.workspace_threads_posts set gone_at = tidemill.now() where workspace_id = $1 and id = any ($2::uuid[])
