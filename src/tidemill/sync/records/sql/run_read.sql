-- Called by: Report.load, at the start of an attempt: what earlier ones came to. Index: sync_run_logs_pkey. Parameters: run.
select metrics, applied_actions from public.sync_run_logs where id = $1
