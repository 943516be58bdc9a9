-- Called by: the repair of an account. Rows left open by runs that no job stands for any more; ends them if asked to.
-- Index: idx_sync_logs_account; unique_key's primary key: an account's live job holds the account's key.
-- Fence: the run's fenced transaction. Parameters: account, kind of the accounts' jobs, whether to mend.
with found as materialized (
  select l.id, l.job_type, l.sync_batch_at from public.sync_logs l
  where l.workspace_threads_account_id = $1 and l.status in ('pending', 'running')
    and not exists (
      select from tidemill.unique_key u join tidemill.kind k on k.id = u.kind
      where k.name = $2 and u.key = $1::uuid::text)
  for update
), ended as (
  update public.sync_logs l set status = 'failed', reason = 'abandoned', completed_at = clock_timestamp()
  from found f where l.id = f.id and $3
)
select job_type, sync_batch_at as slot from found order by 2, 1
