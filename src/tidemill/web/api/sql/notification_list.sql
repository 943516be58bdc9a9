-- Called by: GET /notifications, inside tenant_session(): row security decides. Index: idx_sync_notifications_company_id.
-- Fence: none, it reads. Parameters: only unread, time and id of the last before, limit.
select id, company_id, job_id, run_id, kind, message, created_at, read_at
from public.sync_notifications
where (not $1 or read_at is null) and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
order by created_at desc, id desc
limit $4
