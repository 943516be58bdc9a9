-- Called by: GET /sync-jobs/{id}, and where an edit locked nothing, inside tenant_session(): row security decides.
-- Index: primary key. Fence: none, it reads. Parameters: id.
select id, company_id, connector_id, name, job_type, payload::text as payload, schedule::text as schedule, priority, status, version,
    next_run_at, last_run_at, last_run_status, last_error, failures, plan_error, paused_at, suspended_at, disabled_reason, created_at, updated_at
from public.sync_jobs
where id = $1
