-- Called by: doctor. Index: idx_system_job_logs_type_status, idx_sync_logs_started; the job tables are read for candidates only.
-- Runs with an open row, ten minutes old, whose batch is closed or gone and of which no job is left. Parameters: none.
with open_runs as (
  select id as run_id, batch_id from public.system_job_logs
  where status in ('pending', 'running') and started_at < clock_timestamp() - interval '10 minutes'
  union
  select l.run_id, s.batch_id from public.sync_logs l left join public.system_job_logs s on s.id = l.run_id
  where l.status in ('pending', 'running') and l.started_at < clock_timestamp() - interval '10 minutes'
)
select o.run_id from open_runs o
where not exists (select from tidemill.batch b where b.id = o.batch_id and b.state <> 'closed')
  and not exists (select from tidemill.job_ready j where j.args ->> 'run' = o.run_id::text)
  and not exists (select from tidemill.job_delayed j where j.args ->> 'run' = o.run_id::text)
  and not exists (select from tidemill.job_lease j where j.args ->> 'run' = o.run_id::text)
order by o.run_id limit 1000
