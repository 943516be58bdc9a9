-- Called by: doctor. Index: schedule_pkey. Parameters: none.
select name, next_at at time zone 'UTC' as next_at, paused_by, error,
  coalesce(next_at < (select tidemill.now()) - interval '60 seconds', false) and spec ->> 'overlap' is distinct from 'queue' as late
from tidemill.schedule order by name
