-- Called by: Run.transaction, after the fence: the run is there and open, and stays so until the commit.
-- Index: sync_run_logs_pkey. Fence: the job's lease, in the same transaction. Parameter: the run.
select true from public.sync_run_logs where id = $1 and status = 'running' for key share
