-- Called by: opening a scheduled run, after its lock was taken. Index: idx_system_job_logs_slot.
-- Fence: the lock's row, held by this transaction. Parameters: run, job type, status, trigger, slot, batch, request key,
-- reason of a skip, metadata.
insert into public.system_job_logs
  (id, job_type, status, trigger, sync_batch_at, batch_id, request_key, skipped_reason, metadata, started_at, completed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), case when $3 = 'skipped' then clock_timestamp() end)
