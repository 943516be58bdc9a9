-- Snapshots of posts, of any accounts: layer 1 for all, layers 2 and 3 for the posts whose newest snapshot this is.
-- Called by: write_post_metrics, first. Returns what the caller needs to go on with the rest (post_metrics_rederive.sql).
-- Parameters: arrays side by side: workspaces, accounts, slots, post ids and the six metrics. No post twice.
-- Index: posts by primary key; layer 1 is routed to its partition and not read at all, because the post itself holds all that the
-- newest snapshot needs of the past: the last known values and the slot of the last snapshot.
-- Wrapped against the planner's guesses, each of which made it compare every row with every other: the coalesce, since "one row matches"
-- is what it concludes from workspace and account; "(x in (…)) is true" and "not in", which are left to a hash table at any size.
-- Fence: the caller's transaction. Posts are locked in the order of their ids, so writers of the same posts queue and never deadlock;
-- what is decided here is decided from the locked rows, not from the statement's snapshot, which may be older.
with clock as (
    select tidemill.now() as now
),
locked as (
    select p.id, p.workspace_id, p.published_at, p.last_sync_batch_at, o.slot,
           o.views, o.likes, o.replies, o.reposts, o.quotes, o.shares,
           p.current_views, p.current_likes, p.current_replies, p.current_reposts, p.current_quotes, p.current_shares,
           case when p.last_sync_batch_at is null then 0 end::bigint as origin
    from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[],
                $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
        as o (workspace_id, account_id, slot, id, views, likes, replies, reposts, quotes, shares)
    join public.workspace_threads_posts as p on p.id = o.id
    where coalesce(p.workspace_id = o.workspace_id and p.workspace_threads_account_id = o.account_id, false)
    order by p.id
    for no key update of p
),
inserted as (
    insert into public.workspace_threads_post_metrics
        (workspace_id, workspace_threads_post_id, views, likes, replies, reposts, quotes, shares, captured_at, sync_batch_at)
    select l.workspace_id, l.id, l.views, l.likes, l.replies, l.reposts, l.quotes, l.shares, (select now from clock), l.slot
    from locked as l
    on conflict (workspace_threads_post_id, sync_batch_at, revision) do nothing
    returning workspace_threads_post_id as id
),
newest as (
    select l.*
    from locked as l
    where (l.last_sync_batch_at < l.slot or l.last_sync_batch_at is null)
      and (l.id in (select i.id from inserted as i)) is true
),
differences as (
    insert into public.workspace_threads_post_metrics_deltas
        (workspace_id, workspace_threads_post_id, period_start, period_end,
         views_delta, likes_delta, replies_delta, reposts_delta, quotes_delta, shares_delta,
         is_baseline, sync_batch_at, created_at)
    select n.workspace_id, n.id, coalesce(n.last_sync_batch_at, least(n.published_at, n.slot)), n.slot,
           n.views - coalesce(n.current_views, n.origin), n.likes - coalesce(n.current_likes, n.origin),
           n.replies - coalesce(n.current_replies, n.origin), n.reposts - coalesce(n.current_reposts, n.origin),
           n.quotes - coalesce(n.current_quotes, n.origin), n.shares - coalesce(n.current_shares, n.origin),
           n.last_sync_batch_at is null and n.published_at <= n.slot - interval '30 minutes', n.slot, (select now from clock)
    from newest as n
),
current as (
    update public.workspace_threads_posts as p
    set current_views = coalesce(n.views, p.current_views),
        current_views_at = case when n.views is null then p.current_views_at else n.slot end,
        current_likes = coalesce(n.likes, p.current_likes),
        current_likes_at = case when n.likes is null then p.current_likes_at else n.slot end,
        current_replies = coalesce(n.replies, p.current_replies),
        current_replies_at = case when n.replies is null then p.current_replies_at else n.slot end,
        current_reposts = coalesce(n.reposts, p.current_reposts),
        current_reposts_at = case when n.reposts is null then p.current_reposts_at else n.slot end,
        current_quotes = coalesce(n.quotes, p.current_quotes),
        current_quotes_at = case when n.quotes is null then p.current_quotes_at else n.slot end,
        current_shares = coalesce(n.shares, p.current_shares),
        current_shares_at = case when n.shares is null then p.current_shares_at else n.slot end,
        last_sync_batch_at = n.slot,
        last_metrics_sync_at = (select now from clock),
        updated_at = now()
    from newest as n
    where p.id = n.id
)
select (select count(*) from locked) as found,
       (select count(*) from inserted) as inserted,
       array(select i.id from inserted as i where i.id not in (select n.id from newest as n)) as late
