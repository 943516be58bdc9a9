-- Layers 2 and 3 around a slot that is not the account's newest, or whose values were corrected. Returns how many rows of layer 2 changed.
-- Called by: write_account_insights, last, only then. Parameters: account, slot.
-- The walk of post_metrics_rederive.sql, see there. A gauge has no birth, so the first snapshot has no deltas; profile_views is
-- carried for layer 3 only.
-- Index: layer 1 by primary key, each step one probe a partition. Not the live view, see there too.
-- Fence: the caller's transaction and the account's lock that account_insights_write.sql has taken in it.
with recursive late as (
    select a.id, a.workspace_id,
           array[a.current_followers_count, a.current_profile_views, a.current_likes_count_7d, a.current_views_count_7d] as current,
           array[a.current_followers_count_at, a.current_profile_views_at, a.current_likes_count_7d_at, a.current_views_count_7d_at]
               as current_at
    from public.workspace_threads_accounts as a
    where a.id = $1
),
walk (step, slot, gauges, sought) as (
    select d.step, $2::timestamptz, null::bigint[],
           array(select c.m from unnest(l.current_at) with ordinality as c (at, m) where c.at > $2 or (c.at is not null and d.step < 0))
    from late as l
    cross join (values (-1), (1)) as d (step)
    union all
    select w.step, x.slot, x.gauges, array(select s.m from unnest(w.sought) as s (m) where x.gauges[s.m] is null)
    from walk as w
    cross join lateral (
        (
            select i.sync_batch_at as slot, array[i.followers_count, i.profile_views, i.likes_count_7d, i.views_count_7d] as gauges
            from public.workspace_threads_account_insights as i
            where w.step < 0 and i.workspace_threads_account_id = $1 and i.sync_batch_at < w.slot
            order by i.sync_batch_at desc, i.revision desc
            limit 1
        )
        union all
        (
            select i.sync_batch_at, array[i.followers_count, i.profile_views, i.likes_count_7d, i.views_count_7d]
            from public.workspace_threads_account_insights as i
            where w.step > 0 and i.workspace_threads_account_id = $1 and i.sync_batch_at > w.slot
            order by i.sync_batch_at, i.revision desc
            limit 1
        )
    ) as x
    where w.gauges is null or w.sought <> '{}'
),
chain as (
    select c.slot, c.gauges,
           row_number() over in_order as n,
           lag(c.slot) over in_order as slot_before
    from (
        select w.slot, w.gauges from walk as w where w.gauges is not null
        union all
        (
            select i.sync_batch_at, array[i.followers_count, i.profile_views, i.likes_count_7d, i.views_count_7d]
            from public.workspace_threads_account_insights as i
            where i.workspace_threads_account_id = $1 and i.sync_batch_at = $2
            order by i.revision desc
            limit 1
        )
    ) as c
    window in_order as (order by c.slot)
),
known as (
    select c.slot, c.n, c.slot_before, v.m, v.value,
           (max(array[c.n, v.value]) filter (where v.value is not null) over before)[2] as value_before,
           max(c.slot) filter (where v.value is not null) over before as known_at
    from chain as c
    cross join unnest(c.gauges) with ordinality as v (value, m)
    window before as (partition by v.m order by c.n rows between unbounded preceding and 1 preceding)
),
derived as (
    select k.slot, k.slot_before, array_agg(k.value - k.value_before order by k.m) as delta
    from known as k
    where k.slot >= $2
    group by k.slot, k.slot_before
),
differences as (
    insert into public.workspace_threads_account_insights_deltas as d
        (workspace_id, workspace_threads_account_id, period_start, period_end, followers_delta, likes_count_7d_delta,
         views_count_7d_delta, sync_batch_at, created_at)
    select l.workspace_id, l.id, r.slot_before, r.slot, r.delta[1], r.delta[3], r.delta[4], r.slot, (select tidemill.now())
    from derived as r
    cross join late as l
    on conflict (workspace_threads_account_id, sync_batch_at) do update
    set period_start = excluded.period_start,
        followers_delta = excluded.followers_delta,
        likes_count_7d_delta = excluded.likes_count_7d_delta,
        views_count_7d_delta = excluded.views_count_7d_delta,
        is_recalculated = true
    where (d.period_start, d.followers_delta, d.likes_count_7d_delta, d.views_count_7d_delta)
        is distinct from
        (excluded.period_start, excluded.followers_delta, excluded.likes_count_7d_delta, excluded.views_count_7d_delta)
    returning d.is_recalculated
),
newest as (
    select l.id,
           array_agg(
               case when l.current_at[k.m] > $2 then l.current[k.m]
                    when k.value is not null then k.value
                    when l.current_at[k.m] = $2 then k.value_before
                    else l.current[k.m] end
               order by k.m
           ) as current,
           array_agg(
               case when l.current_at[k.m] > $2 then l.current_at[k.m]
                    when k.value is not null then $2
                    when l.current_at[k.m] = $2 then k.known_at
                    else l.current_at[k.m] end
               order by k.m
           ) as current_at
    from known as k
    cross join late as l
    where k.slot = $2
    group by l.id
),
current as (
    update public.workspace_threads_accounts as a
    set current_followers_count = n.current[1], current_followers_count_at = n.current_at[1],
        current_profile_views = n.current[2], current_profile_views_at = n.current_at[2],
        current_likes_count_7d = n.current[3], current_likes_count_7d_at = n.current_at[3],
        current_views_count_7d = n.current[4], current_views_count_7d_at = n.current_at[4],
        last_insights_sync_at = (select tidemill.now())
    from newest as n
    where a.id = n.id
)
select count(*) filter (where is_recalculated) from differences
