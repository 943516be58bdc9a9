-- Called by: Opening, in the transaction that holds the connector and the job. Index: sync_run_logs_pkey. Fence: see run_look.
-- Parameter: the run. It begins once; each attempt counts.
update public.sync_run_logs
set started_at = case when status = 'pending' then tidemill.now() else started_at end, status = 'running', attempt = attempt + 1,
  error_detail = null
where id = $1
returning attempt
