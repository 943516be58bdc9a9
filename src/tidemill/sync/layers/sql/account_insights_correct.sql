-- A new revision of an account's snapshot if the live one of the slot says otherwise. Returns the new revision, or no row.
-- Called by: write_account_insights(correct=True), between account_insights_write.sql and account_insights_rederive.sql.
-- Parameters: workspace, account, slot, the four gauges, demographics.
-- Index: layer 1 by primary key, in the one partition of the slot.
-- Fence: the caller's transaction and the account's lock that account_insights_write.sql has taken in it.
insert into public.workspace_threads_account_insights
    (workspace_id, workspace_threads_account_id, followers_count, profile_views, likes_count_7d, views_count_7d, demographics,
     captured_at, sync_batch_at, revision)
select i.workspace_id, i.workspace_threads_account_id, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::jsonb,
       (select tidemill.now()), $3, i.revision + 1
from (
    select *
    from public.workspace_threads_account_insights as live
    where live.workspace_id = $1 and live.workspace_threads_account_id = $2 and live.sync_batch_at = $3
    order by live.revision desc
    limit 1
) as i
where (i.followers_count, i.profile_views, i.likes_count_7d, i.views_count_7d, i.demographics)
    is distinct from ($4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::jsonb)
returning revision
