-- Called by: Firing.fire, once a tick; any number of nodes at once.
-- Index: sync_jobs_due and sync_run_logs_open. All that is due is read, to be fair: the first of each company, then the second of each, …
-- Fence: none and no locks: fire_move compares before it moves. What queues stays due, out of the others' way, until the run
-- before has ended; what replaces, once that was asked to stop: until then holder is the engine's job to ask.
-- Parameters: job types that this process knows, most rows.
select d.id, d.holder from (
  select j.id, j.next_run_at, j.holder,
    row_number() over (partition by j.company_id order by j.priority desc, j.next_run_at, j.id) as turn
  from (
    select j.id, j.company_id, j.priority, j.next_run_at, case j.schedule ->> 'overlap' when 'replace' then (
      select max(r.engine_job) from public.sync_run_logs r where r.job_id = j.id and r.status in ('pending', 'running')) end as holder
    from public.sync_jobs j
    where j.next_run_at <= (select tidemill.now()) and j.job_type = any ($1::text[])
      and j.next_run_at is not null and j.paused_at is null and j.suspended_at is null and j.disabled_reason is null and j.plan_error is null
      and j.planned_version = j.version
      and case when j.schedule ->> 'overlap' in ('queue', 'replace') then exists (
        select from public.sync_run_logs r
        where r.job_id = j.id and r.status in ('pending', 'running')
          and (j.schedule ->> 'overlap' = 'queue' or r.engine_job is null
               or exists (select from tidemill.job_cancel c where c.job = r.engine_job))) end is not true
  ) j
) d
order by d.turn, d.next_run_at, d.id
limit $2
