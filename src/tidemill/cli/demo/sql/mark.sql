-- Called by: the demo, so that the next one knows the database for its own. Index: setting_pkey. Parameters: none.
insert into tidemill.setting (name, value) values ('TIDEMILL_DEMO', 'yes') on conflict (name) do nothing
