-- Called by: commands that name a connector. Index: primary key; idx_integration_connectors_name within a company.
-- Parameters: company (null = any), id, name.
select c.id, c.company_id, p.code as company, p.timezone as company_zone, c.provider, c.connector_type, c.name, c.status, c.config, c.version, c.last_synced_at, c.created_at,
  (select max(v.version) from public.connector_credentials as v where v.company_id = c.company_id and v.connector_id = c.id) as credentials
from public.integration_connectors as c
join public.companies as p on p.id = c.company_id
where (c.id = $2 or c.name = $3) and ($1::uuid is null or c.company_id = $1)
limit 20
