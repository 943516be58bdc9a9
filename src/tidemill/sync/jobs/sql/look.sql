-- Called by: SyncJobSource.tick, first and last: all that an idle tick asks.
-- Index: sync_jobs_unplanned, sync_jobs_due, sync_run_logs_asked, sync_run_logs_open; what sleeps costs nothing. Not exists, but the
-- first by the index's order: else the planner may read the whole table in hope of an early end.
-- Fence: none, it only looks. Parameter: job types that this process knows.
select
  (select j.id from unnest($1::text[]) as t (name) cross join lateral (
    select id from public.sync_jobs where planned_version is distinct from version and job_type = t.name order by id limit 1
  ) j limit 1) is not null as unplanned,
  (select d.id from unnest($1::text[]) as t (name) cross join lateral (
    select j.id from public.sync_jobs j
    where j.job_type = t.name and j.next_run_at <= (select tidemill.now())
      and j.next_run_at is not null and j.paused_at is null and j.suspended_at is null and j.disabled_reason is null and j.plan_error is null
      and j.planned_version = j.version
      and case when j.schedule ->> 'overlap' in ('queue', 'replace') then exists (
        select from public.sync_run_logs r
        where r.job_id = j.id and r.status in ('pending', 'running')
          and (j.schedule ->> 'overlap' = 'queue' or r.engine_job is null
               or exists (select from tidemill.job_cancel c where c.job = r.engine_job))) end is not true
    order by j.next_run_at limit 1
  ) d limit 1) is not null as due,
  (select a.id from unnest($1::text[]) as t (name) cross join lateral (
    select r.id from public.sync_run_logs r
    where r.status = 'pending' and r.engine_job is null and r.job_type = t.name
      and not exists (
        select from public.sync_run_logs o
        where o.job_id = r.job_id and o.status in ('pending', 'running') and o.engine_job is not null)
    order by r.started_at limit 1
  ) a limit 1) is not null as asked,
  (select extract(epoch from min(n.next_run_at) - tidemill.now())::float8 from unnest($1::text[]) as t (name) cross join lateral (
    select j.next_run_at from public.sync_jobs j
    where j.job_type = t.name and j.next_run_at > (select tidemill.now())
      and j.next_run_at is not null and j.paused_at is null and j.suspended_at is null and j.disabled_reason is null and j.plan_error is null
      and j.planned_version = j.version
    order by j.next_run_at limit 1
  ) n) as next_s
