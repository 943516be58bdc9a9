-- Called by: GET /runs, inside tenant_session(): row security decides. Index: idx_sync_run_logs_job with a job, else
-- idx_sync_run_logs_connector with a connector, else idx_sync_run_logs_status with a status, else idx_sync_run_logs_company_id.
-- Of several filters the narrowest alone may use an index ("is true" takes it from the others): a planner without statistics would
-- go through all of a company's completed runs for those of one job. The rest is looked for among that job's or connector's runs.
-- Fence: none, it reads. Parameters: job, connector and status (null = any), start and id of the last before, limit.
select id, company_id, job_id, connector_id, job_type, payload::text as payload, trigger, requested_by, fire_at, status, reason, attempt,
    started_at, finished_at, metrics::text as metrics, error_detail, applied_actions::text as applied_actions
from public.sync_run_logs
where ($1::uuid is null or job_id = $1)
  and ($2::uuid is null or case when $1 is null then connector_id = $2 else (connector_id = $2) is true end)
  and ($3::text is null or case when $1 is null and $2 is null then status = $3 else (status = $3) is true end)
  and ($4::timestamptz is null or (started_at, id) < ($4, $5::uuid))
order by started_at desc, id desc
limit $6
