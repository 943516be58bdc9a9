-- Called by: GET /connectors/{id}/credentials, inside tenant_session(): row security decides, and tenants may not read the
-- ciphertext. Index: idx_connector_credentials_company_id. Fence: none, it reads. Parameters: company, connector.
select version, checksum, rotated_at, rotated_by
from public.connector_credentials
where company_id = $1 and connector_id = $2
order by version desc
limit 1
