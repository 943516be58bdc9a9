-- Called by: tidemill sync-jobs add, replay, repair. Index: sync_jobs (company_id, name). Fence: an operator.
-- Parameters: company, connector, type, name, payload, schedule, priority.
insert into public.sync_jobs (company_id, connector_id, job_type, name, payload, schedule, priority)
values ($1, $2, $3, $4, $5, $6, $7)
returning id
