-- Called by: GET /sync-jobs, inside tenant_session(): row security decides. Index: sync_jobs (company_id, id).
-- Fence: none, it reads. Parameters: connector and status (null = any), last id before, limit.
select id, company_id, connector_id, name, job_type, payload::text as payload, schedule::text as schedule, priority, status, version,
    next_run_at, last_run_at, last_run_status, last_error, failures, plan_error, paused_at, suspended_at, disabled_reason, created_at, updated_at
from public.sync_jobs
where ($1::uuid is null or connector_id = $1) and ($2::text is null or status = $2) and ($3::uuid is null or id > $3)
order by id
limit $4
