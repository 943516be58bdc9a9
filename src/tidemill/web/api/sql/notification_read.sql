-- Called by: PUT /notifications/{id}/read, inside tenant_session(): row security decides. Index: primary key.
-- Fence: none; who ticked it off first is kept. Parameters: id.
update public.sync_notifications set read_at = coalesce(read_at, now())
where id = $1
returning id, company_id, job_id, run_id, kind, message, created_at, read_at
