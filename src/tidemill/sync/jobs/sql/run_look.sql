-- Called by: Opening, first in its fenced transaction, and holds the connector: of its runs one may be running.
-- Index: sync_run_logs_pkey, integration_connectors_pkey, companies_pkey. Fence: the job's lease, in the same transaction.
-- Parameter: the run. No row: its job is gone.
select c.provider, c.config::text as config, c.status = 'active' as is_connector_active,
  (select m.status = 'active' from public.companies m where m.id = c.company_id) as is_company_active
from public.integration_connectors c
where c.id = (select r.connector_id from public.sync_run_logs r where r.id = $1)
for no key update of c
