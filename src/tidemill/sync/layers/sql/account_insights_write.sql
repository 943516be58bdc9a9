-- One account's insights at one slot: layer 1, layers 2 and 3 if this is its newest snapshot, and the days of views.
-- Called by: write_account_insights, first. Parameters: workspace, account, slot, the four gauges, demographics, days' ends and their
-- views (arrays side by side), whether days observed at this very slot are to be corrected.
-- Index: account by primary key; layer 1 is routed to one partition and not read, as the account holds the last known values.
-- Fence: the caller's transaction; the account's row is locked, and what is decided here is decided from the locked row.
with clock as (
    select tidemill.now() as now
),
locked as (
    select a.id, a.workspace_id, a.last_sync_batch_at, a.current_followers_count, a.current_likes_count_7d, a.current_views_count_7d
    from public.workspace_threads_accounts as a
    where a.id = $2 and a.workspace_id = $1
    for no key update
),
inserted as (
    insert into public.workspace_threads_account_insights
        (workspace_id, workspace_threads_account_id, followers_count, profile_views, likes_count_7d, views_count_7d, demographics,
         captured_at, sync_batch_at)
    select l.workspace_id, l.id, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::jsonb, (select now from clock), $3
    from locked as l
    on conflict (workspace_threads_account_id, sync_batch_at, revision) do nothing
    returning workspace_threads_account_id as id
),
newest as (
    select l.*
    from locked as l
    join inserted as i on i.id = l.id
    where l.last_sync_batch_at < $3 or l.last_sync_batch_at is null
),
differences as (
    insert into public.workspace_threads_account_insights_deltas
        (workspace_id, workspace_threads_account_id, period_start, period_end, followers_delta, likes_count_7d_delta,
         views_count_7d_delta, sync_batch_at, created_at)
    select n.workspace_id, n.id, n.last_sync_batch_at, $3, $4 - n.current_followers_count, $6 - n.current_likes_count_7d,
           $7 - n.current_views_count_7d, $3, (select now from clock)
    from newest as n
),
current as (
    update public.workspace_threads_accounts as a
    set current_followers_count = coalesce($4, a.current_followers_count),
        current_followers_count_at = case when $4 is null then a.current_followers_count_at else $3 end,
        current_profile_views = coalesce($5, a.current_profile_views),
        current_profile_views_at = case when $5 is null then a.current_profile_views_at else $3 end,
        current_likes_count_7d = coalesce($6, a.current_likes_count_7d),
        current_likes_count_7d_at = case when $6 is null then a.current_likes_count_7d_at else $3 end,
        current_views_count_7d = coalesce($7, a.current_views_count_7d),
        current_views_count_7d_at = case when $7 is null then a.current_views_count_7d_at else $3 end,
        last_sync_batch_at = $3,
        last_insights_sync_at = (select now from clock)
    from newest as n
    where a.id = n.id
),
days as (
    insert into public.workspace_threads_account_views_days as d
        (workspace_id, workspace_threads_account_id, end_time, views, sync_batch_at, first_seen_at, updated_at)
    select l.workspace_id, l.id, o.end_time, o.views, $3, (select now from clock), (select now from clock)
    from locked as l
    cross join unnest($9::timestamptz[], $10::bigint[]) as o (end_time, views)
    on conflict (workspace_threads_account_id, end_time) do update
    set views = excluded.views, sync_batch_at = excluded.sync_batch_at, updated_at = excluded.updated_at
    where d.sync_batch_at < excluded.sync_batch_at
       or ($11::boolean and d.sync_batch_at = excluded.sync_batch_at and d.views <> excluded.views)
)
select (select count(*) from locked) as found,
       (select count(*) from inserted) as inserted,
       exists (select from inserted) and exists (select from locked as l where l.last_sync_batch_at >= $3) as late
