-- Insights of accounts, each at its slot: layer 1, layers 2 and 3 where this is the account's newest snapshot, and the days of views.
-- Called by: write_account_insights, first. Parameters: arrays side by side: workspaces, accounts, slots, the four gauges, demographics;
-- then of the days: accounts, ends and views; last, whether days observed at this very slot are to be corrected. No account twice.
-- Index: account by primary key; layer 1 is routed to its partition and not read, as the account holds the last known values.
-- Fence: the caller's transaction. Accounts are locked in the order of their ids, and what is decided here is decided from the locked
-- rows. The coalesce is wrapped around what would make the planner expect one row, as in post_metrics_write.sql.
with clock as (
    select tidemill.now() as now
),
locked as (
    select a.id, a.workspace_id, a.last_sync_batch_at, a.current_followers_count, a.current_likes_count_7d, a.current_views_count_7d,
           o.slot, o.followers, o.profile_views, o.likes, o.views, o.demographics
    from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::jsonb[])
        as o (workspace_id, id, slot, followers, profile_views, likes, views, demographics)
    join public.workspace_threads_accounts as a on a.id = o.id
    where coalesce(a.workspace_id = o.workspace_id, false)
    order by a.id
    for no key update of a
),
inserted as (
    insert into public.workspace_threads_account_insights
        (workspace_id, workspace_threads_account_id, followers_count, profile_views, likes_count_7d, views_count_7d, demographics,
         captured_at, sync_batch_at)
    select l.workspace_id, l.id, l.followers, l.profile_views, l.likes, l.views, l.demographics, (select now from clock), l.slot
    from locked as l
    on conflict (workspace_threads_account_id, sync_batch_at, revision) do nothing
    returning workspace_threads_account_id as id
),
newest as (
    select l.*
    from locked as l
    where (l.last_sync_batch_at < l.slot or l.last_sync_batch_at is null)
      and (l.id in (select i.id from inserted as i)) is true
),
differences as (
    insert into public.workspace_threads_account_insights_deltas
        (workspace_id, workspace_threads_account_id, period_start, period_end, followers_delta, likes_count_7d_delta,
         views_count_7d_delta, sync_batch_at, created_at)
    select n.workspace_id, n.id, n.last_sync_batch_at, n.slot, n.followers - n.current_followers_count,
           n.likes - n.current_likes_count_7d, n.views - n.current_views_count_7d, n.slot, (select now from clock)
    from newest as n
),
current as (
    update public.workspace_threads_accounts as a
    set current_followers_count = coalesce(n.followers, a.current_followers_count),
        current_followers_count_at = case when n.followers is null then a.current_followers_count_at else n.slot end,
        current_profile_views = coalesce(n.profile_views, a.current_profile_views),
        current_profile_views_at = case when n.profile_views is null then a.current_profile_views_at else n.slot end,
        current_likes_count_7d = coalesce(n.likes, a.current_likes_count_7d),
        current_likes_count_7d_at = case when n.likes is null then a.current_likes_count_7d_at else n.slot end,
        current_views_count_7d = coalesce(n.views, a.current_views_count_7d),
        current_views_count_7d_at = case when n.views is null then a.current_views_count_7d_at else n.slot end,
        last_sync_batch_at = n.slot,
        last_insights_sync_at = (select now from clock)
    from newest as n
    where a.id = n.id
),
days as (
    insert into public.workspace_threads_account_views_days as d
        (workspace_id, workspace_threads_account_id, end_time, views, sync_batch_at, first_seen_at, updated_at)
    select l.workspace_id, l.id, o.end_time, o.views, l.slot, (select now from clock), (select now from clock)
    from unnest($9::uuid[], $10::timestamptz[], $11::bigint[]) as o (id, end_time, views)
    join locked as l on l.id = o.id
    on conflict (workspace_threads_account_id, end_time) do update
    set views = excluded.views, sync_batch_at = excluded.sync_batch_at, updated_at = excluded.updated_at
    where d.sync_batch_at < excluded.sync_batch_at
       or ($12::boolean and d.sync_batch_at = excluded.sync_batch_at and d.views <> excluded.views)
)
select (select count(*) from locked) as found,
       (select count(*) from inserted) as inserted,
       array(select i.id from inserted as i where i.id not in (select n.id from newest as n)) as late
