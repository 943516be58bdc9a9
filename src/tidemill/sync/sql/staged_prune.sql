-- Called by: LogRetention, again and again while there is more to delete: what runs that have ended left staged, when the process that
-- held them died once too often. Index: staged_record_pkey, one probe a run; sync_run_logs_pkey.
-- Fence: inside the job's fenced transaction. Parameter: most rows.
with recursive staging (run) as (
  (select run from tidemill.staged_record order by run limit 1)
  union all
  select (select s.run from tidemill.staged_record s where s.run > g.run order by s.run limit 1) from staging g where g.run is not null
), gone as (
  delete from tidemill.staged_record where ctid = any (array(
    select s.ctid from staging g
    join public.sync_run_logs r on r.id = g.run and r.finished_at is not null
    join tidemill.staged_record s on s.run = g.run
    limit $1 for update of s skip locked))
  returning 1
)
select count(*)::int as staged_records from gone
