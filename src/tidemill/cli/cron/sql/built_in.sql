-- Called by: cron status. Index: schedule_pkey. Parameters: name.
select paused_by from tidemill.schedule where name = $1
