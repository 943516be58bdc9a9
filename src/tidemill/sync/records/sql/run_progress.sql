-- Called by: Report.save, with every batch. Index: sync_run_logs_pkey. Parameters: run, metrics, applied actions.
-- Fence: the caller's transaction.
update public.sync_run_logs set metrics = $2, applied_actions = $3 where id = $1
