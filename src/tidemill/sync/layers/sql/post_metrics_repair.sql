-- Layers 2 and 3 of posts as layer 1 has them, against what is stored; mends what differs if asked to. One row per difference.
-- Called by: repair_post_metrics. Parameters: post ids, whether to mend.
-- Where older snapshots have been dropped while their differences stand, what can no longer be derived is left as it is.
-- Index: layers 1 and 2 by primary key, a post's rows each. Fence: the caller's transaction and post_metrics_hold.sql in it.
with post as (
    select p.id, p.workspace_id, p.published_at,
           array[p.current_views, p.current_likes, p.current_replies, p.current_reposts, p.current_quotes, p.current_shares] as current,
           array[p.current_views_at, p.current_likes_at, p.current_replies_at,
                 p.current_reposts_at, p.current_quotes_at, p.current_shares_at] as current_at
    from public.workspace_threads_posts as p
    where p.id = any ($1::uuid[])
),
live as materialized (
    select distinct on (m.workspace_threads_post_id, m.sync_batch_at)
           m.workspace_threads_post_id as id, m.sync_batch_at as slot,
           array[m.views, m.likes, m.replies, m.reposts, m.quotes, m.shares] as metrics
    from public.workspace_threads_post_metrics as m
    where m.workspace_threads_post_id = any ($1::uuid[])
    order by m.workspace_threads_post_id, m.sync_batch_at, m.revision desc
),
stored as materialized (
    select d.* from public.workspace_threads_post_metrics_deltas as d where d.workspace_threads_post_id = any ($1::uuid[])
),
bounds as (
    select l.id, min(l.slot) as first_at,
           exists (select from stored as s where s.workspace_threads_post_id = l.id and s.sync_batch_at < min(l.slot)) as is_cut
    from live as l
    group by l.id
),
chain as (
    select l.*, row_number() over in_order as n, lag(l.slot) over in_order as slot_before
    from live as l
    window in_order as (partition by l.id order by l.slot)
),
known as (
    -- One row per snapshot and metric. The greatest [n, value] before is the last known value.
    select c.id, c.slot, c.n, c.slot_before, v.m, v.value,
           (max(array[c.n, v.value]) filter (where v.value is not null) over before)[2] as value_before
    from chain as c
    cross join unnest(c.metrics) with ordinality as v (value, m)
    window before as (partition by c.id, v.m order by c.n rows between unbounded preceding and 1 preceding)
),
derived as (
    select k.id, k.slot, k.n = 1 as is_first, k.slot_before,
           array_agg(k.value - coalesce(k.value_before, case when k.n = 1 then 0 end) order by k.m) as delta
    from known as k
    join bounds as b on b.id = k.id
    group by k.id, k.slot, k.n, k.slot_before, b.is_cut
    having not b.is_cut or bool_and(k.value is null or k.value_before is not null)
),
expected as (
    select p.workspace_id, r.id, coalesce(r.slot_before, least(p.published_at, r.slot)) as period_start, r.slot, r.delta,
           r.is_first and p.published_at <= r.slot - interval '30 minutes' as is_baseline
    from derived as r
    join post as p on p.id = r.id
),
differing as (
    select e.*, case when s.sync_batch_at is null then 'difference_missing' else 'difference_wrong' end as finding
    from expected as e
    left join stored as s on s.workspace_threads_post_id = e.id and s.sync_batch_at = e.slot
    where s.sync_batch_at is null
       or (s.period_start, s.is_baseline, array[s.views_delta, s.likes_delta, s.replies_delta, s.reposts_delta, s.quotes_delta,
                                                s.shares_delta])
          is distinct from (e.period_start, e.is_baseline, e.delta)
),
orphaned as (
    select s.workspace_threads_post_id as id, s.sync_batch_at as slot
    from stored as s
    join bounds as b on b.id = s.workspace_threads_post_id
    where s.sync_batch_at >= b.first_at
      and not exists (select from live as l where l.id = s.workspace_threads_post_id and l.slot = s.sync_batch_at)
),
newest as (
    select k.id, array_agg(k.value order by k.m) as current, array_agg(k.slot order by k.m) as current_at
    from (
        select distinct on (x.id, x.m) x.id, x.m, x.value, case when x.value is not null then x.slot end as slot
        from known as x
        order by x.id, x.m, x.value is null, x.slot desc
    ) as k
    group by k.id
),
stale as (
    select n.*
    from newest as n
    join post as p on p.id = n.id
    join bounds as b on b.id = n.id
    where (p.current, p.current_at) is distinct from (n.current, n.current_at)
      and not (b.is_cut and array_position(n.current, null) is not null)
),
mended as (
    insert into public.workspace_threads_post_metrics_deltas as d
        (workspace_id, workspace_threads_post_id, period_start, period_end,
         views_delta, likes_delta, replies_delta, reposts_delta, quotes_delta, shares_delta,
         is_baseline, is_recalculated, sync_batch_at, created_at)
    select w.workspace_id, w.id, w.period_start, w.slot,
           w.delta[1], w.delta[2], w.delta[3], w.delta[4], w.delta[5], w.delta[6],
           w.is_baseline, true, w.slot, (select tidemill.now())
    from differing as w
    where $2
    on conflict (workspace_threads_post_id, sync_batch_at) do update
    set period_start = excluded.period_start,
        views_delta = excluded.views_delta,
        likes_delta = excluded.likes_delta,
        replies_delta = excluded.replies_delta,
        reposts_delta = excluded.reposts_delta,
        quotes_delta = excluded.quotes_delta,
        shares_delta = excluded.shares_delta,
        is_baseline = excluded.is_baseline,
        is_recalculated = true
),
removed as (
    delete from public.workspace_threads_post_metrics_deltas as d
    using orphaned as o
    where $2 and d.workspace_threads_post_id = o.id and d.sync_batch_at = o.slot
),
moved as (
    update public.workspace_threads_posts as p
    set current_views = s.current[1], current_views_at = s.current_at[1],
        current_likes = s.current[2], current_likes_at = s.current_at[2],
        current_replies = s.current[3], current_replies_at = s.current_at[3],
        current_reposts = s.current[4], current_reposts_at = s.current_at[4],
        current_quotes = s.current[5], current_quotes_at = s.current_at[5],
        current_shares = s.current[6], current_shares_at = s.current_at[6]
    from stale as s
    where $2 and p.id = s.id
)
select id, slot, finding from differing
union all
select id, slot, 'difference_orphaned' from orphaned
union all
select id, null, 'newest_wrong' from stale
