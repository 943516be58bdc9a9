-- Called by: the repair of an account's posts, a page at a time. Index: unique (workspace_threads_account_id, threads_post_id).
-- Fence: none; it only looks. Parameters: account, after id (null = first), limit.
select id from public.workspace_threads_posts
where workspace_threads_account_id = $1 and ($2::uuid is null or id > $2)
order by id limit $3
