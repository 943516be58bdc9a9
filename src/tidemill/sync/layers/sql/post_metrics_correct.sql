-- A new revision of layer 1 for every post whose live snapshot of the slot says otherwise. Returns those posts' ids.
-- Called by: write_post_metrics(correct=True), between post_metrics_write.sql and post_metrics_rederive.sql.
-- Parameters: as of post_metrics_write.sql.
-- Index: layer 1 by primary key, in the one partition of the slot.
-- Fence: the caller's transaction and the posts' locks that post_metrics_write.sql has taken in it.
insert into public.workspace_threads_post_metrics
    (workspace_id, workspace_threads_post_id, views, likes, replies, reposts, quotes, shares, captured_at, sync_batch_at, revision)
select p.workspace_id, p.id, o.views, o.likes, o.replies, o.reposts, o.quotes, o.shares, (select tidemill.now()), o.slot, m.revision + 1
from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[],
            $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
    as o (workspace_id, account_id, slot, id, views, likes, replies, reposts, quotes, shares)
join public.workspace_threads_posts as p on p.id = o.id
cross join lateral (
    select *
    from public.workspace_threads_post_metrics as live
    where live.workspace_threads_post_id = p.id and live.sync_batch_at = o.slot
    order by live.revision desc
    limit 1
) as m
where coalesce(p.workspace_id = o.workspace_id and p.workspace_threads_account_id = o.account_id, false)
  and (m.views, m.likes, m.replies, m.reposts, m.quotes, m.shares)
      is distinct from (o.views, o.likes, o.replies, o.reposts, o.quotes, o.shares)
returning workspace_threads_post_id as id
