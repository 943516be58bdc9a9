-- Called by: Opening, after it began a run. Index: sync_jobs_pkey, sync_run_logs_open.
-- Fence: the transaction holds the job. Parameter: jobs.
select tidemill.settle_sync_jobs($1::uuid[])
