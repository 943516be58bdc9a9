-- Called by: tidemill connectors add. Index: integration_connectors (company_id, name). Fence: an operator.
-- Parameters: company, provider, type, name, config.
insert into public.integration_connectors (company_id, provider, connector_type, name, config)
values ($1, $2, $3, $4, $5)
returning id
