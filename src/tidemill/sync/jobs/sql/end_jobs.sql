-- Called by: end_runs, after it held the connectors; holds the jobs. Index: sync_run_logs_pkey, sync_jobs_pkey, companies_pkey.
-- Fence: see end_connectors. Parameter: runs. Those that are over or gone are left out of the answer.
select r.id as run, r.status, r.started_at, j.id as job, j.company_id, j.failures, j.next_run_at, j.schedule::text as schedule,
  j.last_run_at, j.last_run_status, j.last_error, j.disabled_reason, m.timezone as zone, tidemill.now() as now
from public.sync_jobs j
join public.sync_run_logs r on r.job_id = j.id
join public.companies m on m.id = j.company_id
where r.id = any ($1::uuid[]) and r.status in ('pending', 'running')
order by j.id, r.id
for no key update of j
