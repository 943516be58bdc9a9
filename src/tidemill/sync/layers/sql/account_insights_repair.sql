-- Layers 2 and 3 of accounts as layer 1 has them, against what is stored; mends what differs if asked to. One row per difference.
-- Called by: repair_account_insights. Parameters: account ids, whether to mend.
-- The shape of post_metrics_repair.sql, see there. A gauge has no birth, so the first snapshot has no differences; profile_views is
-- carried for layer 3 only.
-- Index: layers 1 and 2 by primary key, an account's rows each. Fence: the caller's transaction and account_insights_hold.sql in it.
with account as (
    select a.id, a.workspace_id,
           array[a.current_followers_count, a.current_profile_views, a.current_likes_count_7d, a.current_views_count_7d] as current,
           array[a.current_followers_count_at, a.current_profile_views_at, a.current_likes_count_7d_at, a.current_views_count_7d_at]
               as current_at
    from public.workspace_threads_accounts as a
    where a.id = any ($1::uuid[])
),
live as materialized (
    select distinct on (i.workspace_threads_account_id, i.sync_batch_at)
           i.workspace_threads_account_id as id, i.sync_batch_at as slot,
           array[i.followers_count, i.profile_views, i.likes_count_7d, i.views_count_7d] as gauges
    from public.workspace_threads_account_insights as i
    where i.workspace_threads_account_id = any ($1::uuid[])
    order by i.workspace_threads_account_id, i.sync_batch_at, i.revision desc
),
stored as materialized (
    select d.* from public.workspace_threads_account_insights_deltas as d where d.workspace_threads_account_id = any ($1::uuid[])
),
bounds as (
    select l.id, min(l.slot) as first_at,
           exists (select from stored as s where s.workspace_threads_account_id = l.id and s.sync_batch_at < min(l.slot)) as is_cut
    from live as l
    group by l.id
),
chain as (
    select l.*, row_number() over in_order as n, lag(l.slot) over in_order as slot_before
    from live as l
    window in_order as (partition by l.id order by l.slot)
),
known as (
    select c.id, c.slot, c.n, c.slot_before, v.m, v.value,
           (max(array[c.n, v.value]) filter (where v.value is not null) over before)[2] as value_before
    from chain as c
    cross join unnest(c.gauges) with ordinality as v (value, m)
    window before as (partition by c.id, v.m order by c.n rows between unbounded preceding and 1 preceding)
),
expected as (
    select a.workspace_id, k.id, k.slot, k.slot_before, array_agg(k.value - k.value_before order by k.m) as delta
    from known as k
    join bounds as b on b.id = k.id
    join account as a on a.id = k.id
    group by a.workspace_id, k.id, k.slot, k.slot_before, b.is_cut
    having not b.is_cut or bool_and(k.value is null or k.value_before is not null)
),
differing as (
    select e.*, case when s.sync_batch_at is null then 'difference_missing' else 'difference_wrong' end as finding
    from expected as e
    left join stored as s on s.workspace_threads_account_id = e.id and s.sync_batch_at = e.slot
    where s.sync_batch_at is null
       or (s.period_start, s.followers_delta, s.likes_count_7d_delta, s.views_count_7d_delta)
          is distinct from (e.slot_before, e.delta[1], e.delta[3], e.delta[4])
),
orphaned as (
    select s.workspace_threads_account_id as id, s.sync_batch_at as slot
    from stored as s
    join bounds as b on b.id = s.workspace_threads_account_id
    where s.sync_batch_at >= b.first_at
      and not exists (select from live as l where l.id = s.workspace_threads_account_id and l.slot = s.sync_batch_at)
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
    join account as a on a.id = n.id
    join bounds as b on b.id = n.id
    where (a.current, a.current_at) is distinct from (n.current, n.current_at)
      and not (b.is_cut and array_position(n.current, null) is not null)
),
mended as (
    insert into public.workspace_threads_account_insights_deltas as d
        (workspace_id, workspace_threads_account_id, period_start, period_end, followers_delta, likes_count_7d_delta,
         views_count_7d_delta, is_recalculated, sync_batch_at, created_at)
    select w.workspace_id, w.id, w.slot_before, w.slot, w.delta[1], w.delta[3], w.delta[4], true, w.slot, (select tidemill.now())
    from differing as w
    where $2
    on conflict (workspace_threads_account_id, sync_batch_at) do update
    set period_start = excluded.period_start,
        followers_delta = excluded.followers_delta,
        likes_count_7d_delta = excluded.likes_count_7d_delta,
        views_count_7d_delta = excluded.views_count_7d_delta,
        is_recalculated = true
),
removed as (
    delete from public.workspace_threads_account_insights_deltas as d
    using orphaned as o
    where $2 and d.workspace_threads_account_id = o.id and d.sync_batch_at = o.slot
),
moved as (
    update public.workspace_threads_accounts as a
    set current_followers_count = s.current[1], current_followers_count_at = s.current_at[1],
        current_profile_views = s.current[2], current_profile_views_at = s.current_at[2],
        current_likes_count_7d = s.current[3], current_likes_count_7d_at = s.current_at[3],
        current_views_count_7d = s.current[4], current_views_count_7d_at = s.current_at[4]
    from stale as s
    where $2 and a.id = s.id
)
select id, slot, finding from differing
union all
select id, slot, 'difference_orphaned' from orphaned
union all
select id, null, 'newest_wrong' from stale
