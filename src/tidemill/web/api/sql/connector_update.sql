-- Called by: PATCH /connectors/{id}, inside tenant_session(): row security decides. Index: primary key.
-- Fence: connector_lock, in this transaction. Parameters: id, provider, type, whether the name changes, name, status, config;
-- null leaves a column as it is.
update public.integration_connectors
set provider = coalesce($2, provider), connector_type = coalesce($3, connector_type),
    name = case when $4 then $5 else name end, status = coalesce($6, status), config = coalesce($7, config)
where id = $1
returning id, company_id, provider, connector_type, name, status, config::text as config, version, last_synced_at, created_at, updated_at
