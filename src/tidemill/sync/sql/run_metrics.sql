-- Called by: the repair of a company's accounts, to go on where an earlier attempt was. Index: sync_run_logs' primary key.
-- Fence: none; the run is ours. Parameters: run.
select metrics from public.sync_run_logs where id = $1
