-- Called by: LogRetention, again and again while there is more to delete: what runs left staged that ended
-- when the process that held them died once too often. Index: staged_record_pkey, one probe a run; sync_run_logs_pkey.
-- Fence: inside the job's fenced transaction. Parameter: most rows.
with recursive staging (run) as (
  (select run from tidemill.staged_record order by run limit 1)
  union all
  select (select s.run from tidemill.staged_record s where s.run > g.run order by s.run limit 1) from staging g where g.run is not null
), over as materialized (
  select g.run from staging g
  where (select r.finished_at is null from public.sync_run_logs r where r.id = g.run) is not true
), gone as (
  delete from tidemill.staged_record where ctid = any (array(
    select s.ctid from over o
    cross join lateral (select ctid from tidemill.staged_record where run = o.run limit $1 for update skip locked) s
    limit $1))
  returning 1
)
select count(*)::int as staged_records from gone
