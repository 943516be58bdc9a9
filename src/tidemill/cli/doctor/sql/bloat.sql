-- Called by: doctor. Index: none; the catalogue and statistics. Parameters: least size (bytes) that counts.
-- Tables of jobs whose files, indexes too, are ten times as large as their rows are likely to be: 1 kB each with all indexes.
-- They are never cut off by vacuum (vacuum_truncate), so that a burst of the past stays: space that is used again, not a leak.
select s.relid::regclass::text as name, pg_total_relation_size(s.relid) as bytes, s.n_live_tup as live
from pg_stat_user_tables s
where s.schemaname = 'tidemill' and s.relname in ('job_ready', 'job_lease', 'job_delayed', 'unique_key', 'node', 'schedule')
  and pg_total_relation_size(s.relid) > greatest($1::bigint, 10 * 1024 * s.n_live_tup)
order by bytes desc
