-- Called by: GET /connectors, inside tenant_session(): row security decides. Index: integration_connectors (company_id, id).
-- Fence: none, it reads. Parameters: provider (null = any), last id before, limit.
select id, company_id, provider, connector_type, name, status, config::text as config, version, last_synced_at, created_at, updated_at
from public.integration_connectors
where ($1::text is null or provider = $1) and ($2::uuid is null or id > $2)
order by id
limit $3
