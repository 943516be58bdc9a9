-- Called by: opening a run. Index: idx_system_job_logs_slot. Parameters: job type, slot.
select id from public.system_job_logs where job_type = $1 and sync_batch_at = $2 and (status <> 'skipped' or batch_id is not null)
