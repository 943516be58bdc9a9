-- Locks posts, so that nobody writes their layers until the transaction ends: what is read after it is settled.
-- Called by: repair_post_metrics, before post_metrics_repair.sql. Index: primary key. Fence: the caller's transaction. Parameters: post ids.
select id from public.workspace_threads_posts where id = any ($1::uuid[]) order by id for no key update
