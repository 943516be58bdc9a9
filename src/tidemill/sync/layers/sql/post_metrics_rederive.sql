-- Layers 2 and 3 around a slot that is not its post's newest, or whose values were corrected. Returns how many rows of layer 2 changed.
-- Called by: write_post_metrics, last, only for such posts. Parameters: post ids, slot.
-- What a slot touches: its own row, the next one (whose period now starts here), and for every metric the next row that knows it; what
-- it rests on: the row before, and for every metric the last row that knew it. So we walk from the slot, one live row at a time, in both
-- directions until every metric has been met, mostly one step, and derive the rows walked over.
-- Index: layer 1 by primary key, each step one probe a partition. Not the live view: its anti-join read a post's whole history a step.
-- Fence: the caller's transaction and the posts' locks that post_metrics_write.sql has taken in it.
with recursive late as (
    select p.id, p.workspace_id, p.published_at,
           array[p.current_views, p.current_likes, p.current_replies, p.current_reposts, p.current_quotes, p.current_shares] as current,
           array[p.current_views_at, p.current_likes_at, p.current_replies_at,
                 p.current_reposts_at, p.current_quotes_at, p.current_shares_at] as current_at
    from public.workspace_threads_posts as p
    where p.id = any ($1)
),
walk (id, step, slot, metrics, sought) as (
    -- A metric that layer 3 does not know was never observed; one it knows from this slot or before is not observed after it.
    select l.id, d.step, $2::timestamptz, null::bigint[],
           array(select c.m from unnest(l.current_at) with ordinality as c (at, m) where c.at > $2 or (c.at is not null and d.step < 0))
    from late as l
    cross join (values (-1), (1)) as d (step)
    union all
    select w.id, w.step, x.slot, x.metrics, array(select s.m from unnest(w.sought) as s (m) where x.metrics[s.m] is null)
    from walk as w
    cross join lateral (
        (
            select m.sync_batch_at as slot, array[m.views, m.likes, m.replies, m.reposts, m.quotes, m.shares] as metrics
            from public.workspace_threads_post_metrics as m
            where w.step < 0 and m.workspace_threads_post_id = w.id and m.sync_batch_at < w.slot
            order by m.sync_batch_at desc, m.revision desc
            limit 1
        )
        union all
        (
            select m.sync_batch_at, array[m.views, m.likes, m.replies, m.reposts, m.quotes, m.shares]
            from public.workspace_threads_post_metrics as m
            where w.step > 0 and m.workspace_threads_post_id = w.id and m.sync_batch_at > w.slot
            order by m.sync_batch_at, m.revision desc
            limit 1
        )
    ) as x
    where w.metrics is null or w.sought <> '{}'
),
chain as (
    select c.id, c.slot, c.metrics,
           row_number() over in_order as n,
           lag(c.slot) over in_order as slot_before
    from (
        select w.id, w.slot, w.metrics from walk as w where w.metrics is not null
        union all
        select l.id, $2, x.metrics
        from late as l
        cross join lateral (
            select array[m.views, m.likes, m.replies, m.reposts, m.quotes, m.shares] as metrics
            from public.workspace_threads_post_metrics as m
            where m.workspace_threads_post_id = l.id and m.sync_batch_at = $2
            order by m.revision desc
            limit 1
        ) as x
    ) as c
    window in_order as (partition by c.id order by c.slot)
),
known as (
    -- One row per snapshot and metric. The greatest [n, value] before is the last known value.
    select c.id, c.slot, c.n, c.slot_before, v.m, v.value,
           (max(array[c.n, v.value]) filter (where v.value is not null) over before)[2] as value_before,
           max(c.slot) filter (where v.value is not null) over before as known_at
    from chain as c
    cross join unnest(c.metrics) with ordinality as v (value, m)
    window before as (partition by c.id, v.m order by c.n rows between unbounded preceding and 1 preceding)
),
derived as (
    -- The chain starts at the slot itself only if nothing precedes it: then it is the post's first snapshot.
    select k.id, k.slot, k.n = 1 as is_first, k.slot_before,
           array_agg(k.value - coalesce(k.value_before, case when k.n = 1 then 0 end) order by k.m) as delta
    from known as k
    where k.slot >= $2
    group by k.id, k.slot, k.n, k.slot_before
),
differences as (
    insert into public.workspace_threads_post_metrics_deltas as d
        (workspace_id, workspace_threads_post_id, period_start, period_end,
         views_delta, likes_delta, replies_delta, reposts_delta, quotes_delta, shares_delta,
         is_baseline, sync_batch_at, created_at)
    select l.workspace_id, l.id, coalesce(r.slot_before, least(l.published_at, r.slot)), r.slot,
           r.delta[1], r.delta[2], r.delta[3], r.delta[4], r.delta[5], r.delta[6],
           r.is_first and l.published_at <= r.slot - interval '30 minutes', r.slot, (select tidemill.now())
    from derived as r
    join late as l on l.id = r.id
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
    where (d.period_start, d.views_delta, d.likes_delta, d.replies_delta, d.reposts_delta, d.quotes_delta, d.shares_delta, d.is_baseline)
        is distinct from
        (excluded.period_start, excluded.views_delta, excluded.likes_delta, excluded.replies_delta, excluded.reposts_delta,
         excluded.quotes_delta, excluded.shares_delta, excluded.is_baseline)
    returning d.is_recalculated
),
newest as (
    -- Layer 3 moves forward to this slot's value; back only where this slot's value was the current one and has been corrected away.
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
    join late as l on l.id = k.id
    where k.slot = $2
    group by l.id
),
current as (
    update public.workspace_threads_posts as p
    set current_views = n.current[1], current_views_at = n.current_at[1],
        current_likes = n.current[2], current_likes_at = n.current_at[2],
        current_replies = n.current[3], current_replies_at = n.current_at[3],
        current_reposts = n.current[4], current_reposts_at = n.current_at[4],
        current_quotes = n.current[5], current_quotes_at = n.current_at[5],
        current_shares = n.current[6], current_shares_at = n.current_at[6],
        last_metrics_sync_at = (select tidemill.now())
    from newest as n
    where p.id = n.id
)
select count(*) filter (where is_recalculated) from differences
