-- Days of an account's views, as a replay read them: what is new or differs, and by $6 written.
-- Called by: replay_views_days, after account_insights_hold.sql. Index: primary key.
-- Fence: the caller's transaction holds the account, so nobody writes its days meanwhile; a statement of its own, so that it sees them
-- as they are now. Parameters: workspace, account, slot; ends and views side by side; fill, overwrite or dry_run.
with clock as materialized (
    select tidemill.now() as now
),
asked as materialized (
    select o.end_time, o.views, d.views as known
    from unnest($4::timestamptz[], $5::bigint[]) as o (end_time, views)
    left join public.workspace_threads_account_views_days as d
        on d.workspace_threads_account_id = $2 and d.end_time = o.end_time
    where d.views is null or (d.views <> o.views and d.sync_batch_at < $3)
),
added as (
    insert into public.workspace_threads_account_views_days
        (workspace_id, workspace_threads_account_id, end_time, views, sync_batch_at, first_seen_at, updated_at)
    select $1, $2, a.end_time, a.views, $3, c.now, c.now
    from asked as a, clock as c
    where a.known is null and $6 <> 'dry_run'
),
changed as (
    update public.workspace_threads_account_views_days as d
    set views = a.views, sync_batch_at = $3, updated_at = c.now
    from asked as a, clock as c
    where d.workspace_threads_account_id = $2 and d.end_time = a.end_time and a.known is not null and $6 = 'overwrite'
)
select end_time, known is null as is_new from asked order by end_time
