-- Called by: edits of a connector, inside tenant_session(): a row is locked only where the policy for updates lets the tenant
-- change it, so no row means that there is none, or that it is his to read alone.
-- Index: primary key. Fence: the lock; what was compared holds until the commit. Parameters: id.
select id, company_id, provider, connector_type, name, status, config::text as config, version, last_synced_at, created_at, updated_at
from public.integration_connectors
where id = $1
for update
