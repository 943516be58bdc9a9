-- Called by: the demo, for each run that closes. Index: primary key. Parameters: run.
select sync_batch_at as slot, status, (metadata ->> 'success_count')::int as success, (metadata ->> 'error_count')::int as error,
  (metadata ->> 'skipped_count')::int as skipped
from public.system_job_logs where id = $1
