-- Called by: Planning.plan, before it reads the schedules; any number of nodes at once.
-- Index: sync_jobs_unplanned. Ids are random, so that no company comes before another; $3 goes on where the last chunk ended.
-- Fence: none and no locks: plan_write compares the version. JSON as text: one row that cannot be read must not spoil the others.
-- Parameters: a job type, most rows, the id after which to go on.
select j.id, j.version, j.job_type, j.schedule::text as schedule, j.payload::text as payload, j.next_run_at,
  j.disabled_reason is not null as is_disabled, c.timezone as zone, t.now
from (select tidemill.now() as now offset 0) t
cross join public.sync_jobs j join public.companies c on c.id = j.company_id
where j.planned_version is distinct from j.version and j.job_type = $1 and j.id > $3
order by j.id
limit $2
