-- Called by: an account's job, last statement of a step's fenced transaction: closes the step's row; begins the next one.
-- Index: unique (run_id, account, job_type). Fence: the caller's transaction.
-- Parameters: run, account, step, status, reason, error, metadata, next step (null = none), attempt; when the rest of the
-- account is not run: the steps to skip, and why.
update public.sync_logs l
set status = case when job_type = $3 then $4 when job_type = $8 then 'running' else 'skipped' end,
    started_at = case when job_type = $3 then started_at else clock_timestamp() end,
    completed_at = case when job_type is distinct from $8 then clock_timestamp() end,
    reason = case when job_type = $3 then $5 when job_type = $8 then null else $11 end,
    -- What an earlier attempt missed is told unless all was got in the end.
    error_message = case when job_type = $3 then coalesce($6, case when $4 <> 'completed' then error_message end) end,
    attempt = $9,
    metadata = case when job_type = $3 then
      $7::jsonb || jsonb_build_object('duration_ms', round(extract(epoch from clock_timestamp() - started_at) * 1000)) end
where run_id = $1 and workspace_threads_account_id = $2
  and (job_type = $3 or job_type = $8 or job_type = any ($10::text[]))
  and status in ('pending', 'running')
