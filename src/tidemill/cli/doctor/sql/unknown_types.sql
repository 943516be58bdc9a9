-- Called by: doctor. Index: sync_jobs_unplanned, of each type its first entry, and the first few of unknown ones. Parameters: seconds
-- after which a type that no worker has said it knows is unknown, most jobs to count of a type.
with recursive used as (
  (select job_type from public.sync_jobs where planned_version is distinct from version order by job_type limit 1)
  union all
  select (
    select j.job_type from public.sync_jobs j
    where j.planned_version is distinct from j.version and j.job_type > u.job_type order by j.job_type limit 1)
  from used u where u.job_type is not null
)
select u.job_type, (
  select count(*) from (
    select from public.sync_jobs j where j.planned_version is distinct from j.version and j.job_type = u.job_type limit $2) c)::int as jobs
from used u
where u.job_type is not null and not exists (
  select from tidemill.sync_job_type t where t.name = u.job_type and t.known_at > clock_timestamp() - make_interval(secs => $1))
order by 1
limit 100
