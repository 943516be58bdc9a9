-- Called by: tidemill connectors list. Index: integration_connectors (company_id, id). Parameters: company (null = all), limit.
select c.id, c.company_id, p.code as company, c.provider, c.connector_type, c.name, c.status, c.config, c.version, c.last_synced_at, c.created_at,
  (select max(v.version) from public.connector_credentials as v where v.company_id = c.company_id and v.connector_id = c.id) as credentials
from public.integration_connectors as c
join public.companies as p on p.id = c.company_id
where $1::uuid is null or c.company_id = $1
order by p.code, c.name nulls last, c.id
limit $2
