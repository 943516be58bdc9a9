-- Called by: Asked.take_up, once a tick; any number of nodes at once.
-- Index: sync_run_logs_asked, sync_run_logs_open. The first of each company, then the second of each, …
-- Fence: none and no locks; asked_rows looks again. A run whose job has another one with the engine waits for that to end.
-- Parameters: job types that this process knows, most rows.
select d.id, d.job_id from (
  select r.id, r.job_id, r.started_at, row_number() over (partition by r.company_id order by r.started_at, r.id) as turn
  from public.sync_run_logs r
  where r.status = 'pending' and r.engine_job is null and r.job_type = any ($1::text[])
    and (  -- not "not exists": joined, each would be compared with all that are open
      select true from public.sync_run_logs o
      where o.job_id = r.job_id and o.status in ('pending', 'running') and o.engine_job is not null limit 1) is not true
) d
order by d.turn, d.started_at, d.id
limit $2
