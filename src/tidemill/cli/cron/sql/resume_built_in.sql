-- Called by: cron install --remove, in its transaction. Index: schedule_pkey. Another's pause stands. Parameters: name, who.
update tidemill.schedule set paused_by = null, updated_at = clock_timestamp() where name = $1 and paused_by = $2
