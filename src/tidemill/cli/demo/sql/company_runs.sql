-- Called by: the demo's summary and audit, and once a second while it goes on. Index: idx_sync_run_logs_job. Parameters: company, job.
select id, status, reason, trigger, fire_at, started_at, finished_at, coalesce((metrics ->> 'records')::int, 0) as records,
  coalesce((metrics ->> 'added')::int, 0) as added, coalesce((metrics ->> 'changed')::int, 0) as changed, error_detail as error,
  round(extract(epoch from coalesce(finished_at, tidemill.now()) - started_at), 3)::float8 as seconds
from public.sync_run_logs
where company_id = $1 and job_id = $2 order by started_at, id
