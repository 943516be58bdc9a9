-- Called by: Schedules.tick, for rows that cannot be planned; they are left out until they are declared again.
-- Index: schedule_pkey.
-- Fence: compare-and-set on next_at; a row that somebody is changing right now is looked at again by the next tick.
-- Parameters, as arrays: name, next_at as it was read, what is wrong.
with broken as materialized (
  select s.name, u.error
  from tidemill.schedule s
  join unnest($1::text[], $2::timestamptz[], $3::text[]) as u (name, seen_at, error)
    on u.name = s.name and u.seen_at = s.next_at
  for update of s skip locked
)
update tidemill.schedule s set error = b.error, updated_at = clock_timestamp()
from broken b where s.name = b.name
returning s.name, s.error
