-- The zone of schedules that name none. Called by: sync jobs and POST /schedules/preview, inside tenant_session().
-- Index: companies' primary key. Fence: none, it reads.
select timezone from public.companies where id = (select public.current_company_id())
