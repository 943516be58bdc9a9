-- Called by: SyncJobSource.tick, after it said what it knows: tells the jobs of types that nobody knows. They are unplanned, so
-- that whoever knows them plans them at once, with what came due meanwhile.
-- Index: sync_jobs_type, of which each type's first entry is read, and the jobs of unknown types: those are told, and leave it.
-- Fence: none; a type that becomes known just now has its jobs planned at the next tick. What somebody else is at is told later.
-- Parameters: seconds after which a type that nobody knows any more is unknown, most jobs.
with recursive used as (
  (select job_type from public.sync_jobs where plan_error is null order by job_type limit 1)
  union all
  select (select j.job_type from public.sync_jobs j where j.plan_error is null and j.job_type > u.job_type order by j.job_type limit 1)
  from used u where u.job_type is not null
), known as materialized (
  select name from tidemill.sync_job_type where known_at > clock_timestamp() - make_interval(secs => $1)
), unknown as materialized (
  select j.id
  from (select job_type from used where job_type is not null and job_type not in (select name from known) limit $2) u
  cross join lateral (
    select id from public.sync_jobs
    where job_type = u.job_type and plan_error is null order by id limit $2 for no key update skip locked
  ) j
  limit $2
)
update public.sync_jobs j
set planned_version = null,
  plan_error = format('job_type: no worker knows %s; known: %s', quote_literal(j.job_type),
    coalesce((select string_agg(name, ', ' order by name) from known), 'none'))
where j.id = any (array(select id from unknown))
returning j.id, j.job_type
