-- Called by: cron install, in its transaction. Index: schedule_pkey. Whoever paused it first stays named. Parameters: name, who.
update tidemill.schedule set paused_by = coalesce(paused_by, $2), updated_at = clock_timestamp() where name = $1
