-- Called by: Schedules.tick, before it computes the next fires; any number of nodes at once.
-- Index: schedule_due, in its order, and unique_key_pkey for those that wait in line; sleeping schedules cost nothing.
-- Fence: none and no locks: schedule_move compares next_at before it moves it.
-- Parameters: kinds this process knows, most rows, rows to pass over because other nodes are at them.
select s.name, s.kind, s.args, s.spec::text as spec, s.next_at, clock.now
from (select tidemill.now() as now offset 0) clock
cross join lateral (
  select * from tidemill.schedule
  where next_at <= clock.now and paused_by is null and error is null and kind = any ($1::text[])
    -- What queues or replaces stays due, out of the others' way, until the job of its last fire has ended.
    and not (coalesce(spec ->> 'overlap' in ('queue', 'replace'), false) and exists (
      select from tidemill.unique_key u join tidemill.kind k on k.id = u.kind
      where k.name = schedule.kind and u.key = 'schedule:' || schedule.name))
  order by next_at
  limit $2 offset $3
) s
