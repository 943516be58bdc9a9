-- Called by: Schedules.tick, before it computes the next fires; any number of nodes at once.
-- Index: schedule_due, in its order, and unique_key_pkey for those that wait in line; sleeping schedules cost nothing.
-- Fence: none and no locks: schedule_move compares next_at before it moves it. A schedule that is due holds no job of the fire
-- it is due for, since that job and the move are one commit: the holder is of a fire before.
-- Parameters: kinds this process knows, most rows, rows to pass over because other nodes are at them.
select s.name, s.kind, s.args, s.spec::text as spec, s.next_at, clock.now, case s.spec ->> 'overlap' when 'replace' then (
  select u.job from tidemill.unique_key u join tidemill.kind k on k.id = u.kind
  where k.name = s.kind and u.key = 'schedule:' || s.name) end as holder
from (select tidemill.now() as now offset 0) clock
cross join lateral (
  select * from tidemill.schedule
  where next_at <= clock.now and paused_by is null and error is null and kind = any ($1::text[])
    -- What queues stays due, out of the others' way, until the job of its last fire has ended; what replaces, once that was
    -- asked to stop. LIMIT keeps the planner from reading all keys into a hash.
    and case when spec ->> 'overlap' in ('queue', 'replace') then (
      select spec ->> 'overlap' = 'queue' or exists (select from tidemill.job_cancel c where c.job = u.job)
      from tidemill.unique_key u join tidemill.kind k on k.id = u.kind
      where k.name = schedule.kind and u.key = 'schedule:' || schedule.name
      limit 1) end is not true
  order by next_at
  limit $2 offset $3
) s
