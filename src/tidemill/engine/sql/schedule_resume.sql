-- Called by: Schedules.resume.
-- Index: schedule_pkey.
-- Fence: none. Parameter: name.
update tidemill.schedule set paused_by = null, updated_at = clock_timestamp() where name = $1 returning name
