-- Called by: GET /connectors/{id}, and where an edit locked nothing, inside tenant_session(): row security decides.
-- Index: primary key. Fence: none, it reads. Parameters: id.
select id, company_id, provider, connector_type, name, status, config::text as config, version, last_synced_at, created_at, updated_at
from public.integration_connectors
where id = $1
