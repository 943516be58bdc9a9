-- Called by: GET /runs/{id}, inside tenant_session(): row security decides. Index: primary key. Fence: none, it reads.
-- Parameters: id.
select id, company_id, job_id, connector_id, job_type, payload::text as payload, trigger, requested_by, fire_at, status, reason, attempt,
    started_at, finished_at, metrics::text as metrics, error_detail, applied_actions::text as applied_actions
from public.sync_run_logs
where id = $1
