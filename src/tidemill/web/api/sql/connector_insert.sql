-- Called by: POST /connectors, inside tenant_session(): row security decides. Index: integration_connectors (company_id, name).
-- Fence: none, it is new. Parameters: provider, type, name, status, config.
insert into public.integration_connectors (company_id, provider, connector_type, name, status, config)
values ((select public.current_company_id()), $1, $2, $3, $4, $5)
returning id, company_id, provider, connector_type, name, status, config::text as config, version, last_synced_at, created_at, updated_at
