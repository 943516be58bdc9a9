-- Called by: the closing job, in its fenced transaction. Index: primary key. Fence: compare-and-set on status.
-- Parameters: run, status, metadata, error.
with closed as (
  update public.system_job_logs
  set status = $2, metadata = $3, error_message = $4, completed_at = clock_timestamp(),
      skipped_reason = case when $2 = 'skipped' then 'all_skipped' end
  where id = $1 and status in ('pending', 'running')
  returning id
)
select id, pg_notify('tidemill_run', id::text) as told from closed
