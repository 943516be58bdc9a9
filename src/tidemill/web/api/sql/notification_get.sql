-- Called by: PUT /notifications/{id}/read where it changed nothing, inside tenant_session(): row security decides.
-- Index: primary key. Fence: none, it reads. Parameters: id.
select id, company_id, job_id, run_id, kind, message, created_at, read_at
from public.sync_notifications
where id = $1
