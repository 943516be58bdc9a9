-- Called by: tidemill companies list. Index: companies' unique code; integration_connectors and sync_jobs (company_id, id).
-- Parameters: limit.
select p.id, p.code, p.name, p.status, p.timezone,
  (select count(*) from public.integration_connectors as c where c.company_id = p.id) as connectors,
  (select count(*) from public.sync_jobs as j where j.company_id = p.id) as sync_jobs
from public.companies as p
order by p.code
limit $1
