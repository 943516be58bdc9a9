-- Called by: edits of a sync job, inside tenant_session(): a row is locked only where the policy for updates lets the tenant
-- change it, so no row means that there is none, or that it is his to read alone.
-- Index: primary key. Fence: the lock; what was compared holds until the commit. Parameters: id.
select id, company_id, connector_id, name, job_type, payload::text as payload, schedule::text as schedule, priority, status, version,
    next_run_at, last_run_at, last_run_status, last_error, failures, plan_error, paused_at, suspended_at, disabled_reason, created_at, updated_at
from public.sync_jobs
where id = $1
for update
