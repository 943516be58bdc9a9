-- Called by: POST /sync-jobs, inside tenant_session(): row security decides. Index: sync_jobs (company_id, name).
-- Fence: none, it is new; the composite foreign key holds the connector to the company.
-- Parameters: connector, type, name, payload, schedule, priority.
insert into public.sync_jobs (company_id, connector_id, job_type, name, payload, schedule, priority)
values ((select public.current_company_id()), $1, $2, $3, $4, $5, $6)
returning id, company_id, connector_id, name, job_type, payload::text as payload, schedule::text as schedule, priority, status, version,
    next_run_at, last_run_at, last_run_status, last_error, failures, plan_error, paused_at, suspended_at, disabled_reason, created_at, updated_at
