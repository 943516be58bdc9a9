-- Called by: Firing.fire, after it moved the jobs on, in the same transaction.
-- Index: sync_jobs_pkey, sync_run_logs_open; idx_sync_run_logs_fire: one run per (job, fire), so that a fire that happened before
-- is left out of the answer. Fence: the transaction holds the jobs; a statement of its own, so that it sees what was asked for meanwhile.
-- Parameters, as arrays: run, job, fire, whether it is skipped while a run is open.
insert into public.sync_run_logs
  (id, company_id, job_id, connector_id, job_type, payload, trigger, fire_at, started_at, status, reason, finished_at)
select u.run, j.company_id, j.id, j.connector_id, j.job_type, j.payload, 'schedule', u.fire_at, t.now,
  case when s.reason is null then 'pending' else 'skipped' end, s.reason, case when s.reason is not null then t.now end
from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::boolean[]) as u (run, job, fire_at, yields)
cross join (select tidemill.now() as now offset 0) t
join public.sync_jobs j on j.id = u.job
cross join lateral (
  select case when u.yields and exists (
    select from public.sync_run_logs r where r.job_id = u.job and r.status in ('pending', 'running')) then 'overlap' end as reason
) s
on conflict (job_id, fire_at) where fire_at is not null do nothing
returning id, status
