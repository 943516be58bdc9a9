-- Called by: cron install, in its transaction. Index: setting_pkey. Parameters: name, value.
insert into tidemill.setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value
