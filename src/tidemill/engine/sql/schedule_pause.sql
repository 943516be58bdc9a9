-- Called by: Schedules.pause. Whoever paused first keeps the name to it.
-- Index: schedule_pkey.
-- Fence: none. Parameters: name, who.
update tidemill.schedule set paused_by = coalesce(paused_by, $2), updated_at = clock_timestamp()
where name = $1
returning paused_by
