-- Called by: PATCH /sync-jobs/{id}, inside tenant_session(): row security decides. Index: primary key.
-- Fence: job_lock, in this transaction. Parameters: id, connector, type, whether the name changes, name, payload, schedule,
-- priority; null leaves a column as it is.
update public.sync_jobs
set connector_id = coalesce($2, connector_id), job_type = coalesce($3, job_type), name = case when $4 then $5 else name end,
    payload = coalesce($6, payload), schedule = coalesce($7, schedule), priority = coalesce($8, priority)
where id = $1
returning id, company_id, connector_id, name, job_type, payload::text as payload, schedule::text as schedule, priority, status, version,
    next_run_at, last_run_at, last_run_status, last_error, failures, plan_error, paused_at, suspended_at, disabled_reason, created_at, updated_at
