-- Called by: tidemill sync-jobs list. Index: sync_jobs (company_id, id); idx_sync_jobs_connector.
-- Parameters: company, connector and status (null = any), limit.
select j.id, j.company_id, p.code as company, j.connector_id, c.name as connector, c.provider, j.name, j.job_type, j.payload, j.schedule, j.priority,
  j.status, j.version, j.next_run_at, j.last_run_at, j.last_run_status, j.last_error, j.failures, j.plan_error, j.paused_at,
  j.suspended_at, j.disabled_reason, p.timezone as company_zone
from public.sync_jobs as j
join public.companies as p on p.id = j.company_id
join public.integration_connectors as c on c.company_id = j.company_id and c.id = j.connector_id
where ($1::uuid is null or j.company_id = $1) and ($2::uuid is null or j.connector_id = $2)
  and ($3::text is null or j.status = $3)
order by p.code, j.name nulls last, j.id
limit $4
