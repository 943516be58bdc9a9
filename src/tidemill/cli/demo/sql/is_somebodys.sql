-- Called by: the demo, before it touches a database that it was given. Index: setting_pkey. Parameters: none.
-- Tenants that no earlier demo made.
select (exists (select from public.workspaces) or exists (select from public.companies)) and not exists (select from tidemill.setting where name = 'TIDEMILL_DEMO')
