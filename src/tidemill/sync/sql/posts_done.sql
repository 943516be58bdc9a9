-- Called by: write_observed, for accounts whose list of posts was read to its end. Index: primary key. Fence: the caller's transaction.
-- Only forward. Parameters: accounts, watermarks.
update public.workspace_threads_accounts a set posts_watermark = o.watermark
from unnest($1::uuid[], $2::timestamptz[]) as o (id, watermark)
where a.id = o.id and (a.posts_watermark is null or a.posts_watermark < o.watermark)
