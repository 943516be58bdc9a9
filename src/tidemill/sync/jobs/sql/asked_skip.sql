-- Called by: Asked.take_up, for runs that may not begin. Index: sync_run_logs_pkey.
-- Fence: the transaction holds their jobs. Parameters: runs, why.
update public.sync_run_logs set status = 'skipped', reason = $2, finished_at = tidemill.now()
where id = any ($1::uuid[]) and status = 'pending' and engine_job is null
