-- Called by: Schedules.tick, before it computes the next fires; any number of nodes at once.
-- Index: schedule_due; sleeping schedules cost nothing.
-- Fence: none and no locks: schedule_fire compares next_at before it moves it. Parameters: kinds this process knows, most rows.
select s.name, s.kind, s.args, s.cron, s.timezone, s.next_at, clock.now
from (select tidemill.now() as now offset 0) clock
cross join lateral (
  select * from tidemill.schedule
  where next_at <= clock.now and paused_by is null and error is null and kind = any ($1::text[])
  order by next_at, name
  limit $2
) s
