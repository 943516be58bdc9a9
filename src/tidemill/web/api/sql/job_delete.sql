-- Called by: DELETE /sync-jobs/{id}, inside tenant_session(): row security decides. Its runs go with it. Index: primary key.
-- Fence: job_lock, in this transaction. Parameters: id.
delete from public.sync_jobs where id = $1 returning true
