-- Called by: Schedules.tick, to say when the next tick is worth while.
-- Index: schedule_due, its first entry; min(next_at) read all of it where there were no statistics. With two bounds, which leave nothing
-- out, the planner takes the index for cheap whatever it knows.
-- Fence: none. Parameter: kinds this process knows.
select next_at from tidemill.schedule where paused_by is null and error is null and kind = any ($1::text[])
  and next_at > '-infinity' and next_at < 'infinity'
order by next_at limit 1
