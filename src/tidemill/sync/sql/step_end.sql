-- Called by: end_steps, last statement of its fenced transaction: closes each step's row and begins the account's next one, or skips
-- what is left of the account. Index: unique (run_id, account, job_type). Fence: the caller's transaction.
-- Parameters, arrays side by side: run, account, step, status, reason, error, metadata, attempt, next step (null = none), whether
-- the rest of the account is skipped, for the same reason.
update public.sync_logs l
set status = case when job_type = e.step then e.status when e.skips then 'skipped' else 'running' end,
    started_at = case when job_type = e.step then started_at else clock_timestamp() end,
    completed_at = case when job_type = e.step or e.skips then clock_timestamp() end,
    reason = case when job_type = e.step or e.skips then e.reason end,
    -- What an earlier attempt missed is told unless all was got in the end.
    error_message = case when job_type = e.step then coalesce(e.error, case when e.status <> 'completed' then error_message end) end,
    attempt = e.attempt,
    metadata = case when job_type = e.step then
      e.metadata || jsonb_build_object('duration_ms', round(extract(epoch from clock_timestamp() - started_at) * 1000)) end
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::int[], $9::text[], $10::bool[])
  as e (run, account, step, status, reason, error, metadata, attempt, next, skips)
where l.run_id = e.run and l.workspace_threads_account_id = e.account
  and (l.job_type = e.step or l.job_type = e.next or e.skips)
  and l.status in ('pending', 'running')
