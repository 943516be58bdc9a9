-- Called by: the repair of an account: slots of which something was wanted and nothing is known.
-- The provider tells how things stand, never how they stood: no read brings such a slot back.
-- Index: idx_sync_logs_account, layer 1 of the account by primary key. Fence: none; it only looks. Parameters: account, most slots.
with lost as (
  select distinct l.sync_batch_at as slot from public.sync_logs l
  where l.workspace_threads_account_id = $1 and l.job_type = 'sync_account_insights' and l.status in ('failed', 'skipped')
    and l.sync_batch_at is not null
    and not exists (
      select from public.workspace_threads_account_insights i
      where i.workspace_threads_account_id = $1 and i.sync_batch_at = l.sync_batch_at)
)
select (select count(*) from lost)::int as slots, array(select slot from lost order by slot desc limit $2) as newest
