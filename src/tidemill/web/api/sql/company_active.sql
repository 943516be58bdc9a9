-- Whether anything is done for the caller's company. Called by: POST /connectors/{id}/check, inside tenant_session().
-- Index: companies' primary key. Fence: none, it reads.
select status = 'active' from public.companies where id = (select public.current_company_id())
