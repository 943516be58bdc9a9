-- Called by: write_observed, for posts that the provider denies. Index: primary key. Fence: the caller's transaction.
-- Parameters: workspaces, posts (pairwise).
update public.workspace_threads_posts p set gone_at = tidemill.now()
from unnest($1::uuid[], $2::uuid[]) as o (workspace_id, id)
where p.id = o.id and p.workspace_id = o.workspace_id
