-- Called by: GET /sync-jobs, but for status queued and running (job_list_open.sql), inside tenant_session(): row security decides.
-- Index: sync_jobs (company_id, id); with a connector idx_sync_jobs_connector; sync_jobs_stopped: what is said of status twice is for
-- its sake, since status itself has none (see the migration).
-- Fence: none, it reads. Parameters: connector and status (null = any), last id before, limit.
select id, company_id, connector_id, name, job_type, payload::text as payload, schedule::text as schedule, priority, status, version,
    next_run_at, last_run_at, last_run_status, last_error, failures, plan_error, paused_at, suspended_at, disabled_reason, created_at, updated_at
from public.sync_jobs
where ($1::uuid is null or connector_id = $1) and ($2::text is null or status = $2) and ($3::uuid is null or id > $3)
  and (coalesce($2 not in ('paused', 'disabled', 'error'), true)
    or paused_at is not null or disabled_reason is not null or plan_error is not null)
order by id
limit $4
