-- Called by: Schedules.tick, to say when the next tick is worth while.
-- Index: schedule_due.
-- Fence: none. Parameter: kinds this process knows.
select min(next_at) from tidemill.schedule where paused_by is null and error is null and kind = any ($1::text[])
