-- Called by: credentials.newest and rotate, as the engine's role. Index: idx_connector_credentials_company_id.
-- Fence: none, it reads. Parameters: company, connector.
select id, version, secret_ciphertext as sealed
from public.connector_credentials
where company_id = $1 and connector_id = $2
order by version desc
limit 1
