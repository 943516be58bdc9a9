-- Called by: the fan-out and the manual door: the rows of one account for each step, before any of it is run.
-- Index: unique (run_id, account, job_type). Fence: the caller's transaction; a repeated chunk changes nothing.
-- Parameters: run, slot, trigger, user; arrays of account, workspace, reason (null = to be run); steps.
insert into public.sync_logs
  (run_id, sync_batch_at, trigger, triggered_by, workspace_threads_account_id, workspace_id, job_type, status, reason,
   started_at, completed_at)
select $1, $2, $3, $4, a.account, a.workspace, s.step, case when a.reason is null then 'pending' else 'skipped' end, a.reason,
  clock_timestamp(), case when a.reason is not null then clock_timestamp() end
from unnest($5::uuid[], $6::uuid[], $7::text[]) as a (account, workspace, reason), unnest($8::text[]) as s (step)
on conflict (run_id, workspace_threads_account_id, job_type) do nothing
