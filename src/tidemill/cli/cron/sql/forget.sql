-- Called by: cron install --remove, in its transaction. Index: setting_pkey. Parameters: names.
delete from tidemill.setting where name = any ($1::text[])
