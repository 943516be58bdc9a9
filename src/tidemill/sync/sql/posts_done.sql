-- Called by: the posts step once the list was read to its end. Index: primary key. Fence: the caller's transaction.
-- Only forward. Parameters: account, watermark.
update public.workspace_threads_accounts set posts_watermark = $2
where id = $1 and (posts_watermark is null or posts_watermark < $2)
