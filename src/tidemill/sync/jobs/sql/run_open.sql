-- Called by: Opening, in the transaction that holds the connector; a statement of its own, so that it sees the runs as they are now.
-- Index: sync_run_logs_pkey, sync_jobs_pkey, sync_run_logs_running. Holds the job, and then the run. Fence: see run_look.
-- Parameter: the run. No row: its job is gone.
select r.status, r.company_id, r.job_id, r.connector_id, r.job_type, r.payload::text as payload, r.trigger, r.fire_at, r.attempt,
  extract(epoch from tidemill.now() - r.started_at)::float8 as age_s,
  exists (
    select from public.sync_run_logs o where o.connector_id = r.connector_id and o.status = 'running' and o.id <> r.id) as is_busy
from public.sync_run_logs r join public.sync_jobs j on j.id = r.job_id
where r.id = $1
for no key update of j, r
