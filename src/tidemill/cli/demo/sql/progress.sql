-- Called by: the demo's bar. Index: idx_system_job_logs_slot, batch_pkey. Parameters: slot.
select b.total, b.finished as done from public.system_job_logs l join tidemill.batch b on b.id = l.batch_id
where l.job_type = 'scheduled_sync' and l.sync_batch_at = $1
