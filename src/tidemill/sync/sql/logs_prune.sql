-- Called by: LogRetention, again and again while there is more to delete.
-- Index: idx_sync_logs_started, idx_system_job_logs_started, sync_run_logs_started, read from their oldest entries.
-- Fence: inside the job's fenced transaction. Open rows stay, whatever their age. Parameters: days that are kept, most rows of each.
with steps as (
  delete from public.sync_logs where ctid = any (array(
    select ctid from public.sync_logs
    where started_at < (select tidemill.now()) - make_interval(days => $1) and completed_at is not null
    order by started_at limit $2 for update skip locked))
  returning 1
), runs as (
  delete from public.system_job_logs where ctid = any (array(
    select ctid from public.system_job_logs
    where started_at < (select tidemill.now()) - make_interval(days => $1) and completed_at is not null
    order by started_at limit $2 for update skip locked))
  returning 1
), of_jobs as (
  delete from public.sync_run_logs where ctid = any (array(
    select ctid from public.sync_run_logs
    where started_at < (select tidemill.now()) - make_interval(days => $1) and finished_at is not null
    order by started_at limit $2 for update skip locked))
  returning 1
)
select (select count(*) from steps)::int as sync_logs, (select count(*) from runs)::int as system_job_logs,
  (select count(*) from of_jobs)::int as sync_run_logs
