-- Called by: cron install. Index: none; a handful of rows. Parameters: none.
select name from tidemill.setting
