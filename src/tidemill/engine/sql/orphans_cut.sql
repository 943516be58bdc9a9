-- Called by: rescue, when there are orphans but all of them are locked.
-- Ends the transactions that lock leases and whose process fell silent between two messages of one statement (parsed, not
-- executed): Postgres takes such a session for active, so the fence's idle time-out does not end it. A session met here by
-- mistake loses its connection, and its job is run again. Index: none; a handful of sessions. Parameters: none.
select pg_terminate_backend(a.pid)
from pg_stat_activity a
where a.datname = current_database() and a.usename = current_user and a.state = 'active' and a.wait_event = 'ClientRead'
  and a.state_change < clock_timestamp() - interval '1 second'
  and exists (
    select from pg_locks l
    where l.pid = a.pid and l.relation = 'tidemill.job_lease'::regclass and l.mode = 'RowShareLock' and l.granted)
