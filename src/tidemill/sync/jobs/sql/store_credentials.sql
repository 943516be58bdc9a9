-- Called by: credentials.store, as the engine's role. Index: connector_credentials (connector_id, version), unique.
-- Fence: the caller's transaction holds the connector's row, so versions follow one another without a gap.
-- A user whom auth.users does not know (another issuer's) is not written down.
-- Parameters: company, connector, ciphertext, checksum, user.
insert into public.connector_credentials (company_id, connector_id, version, secret_ciphertext, checksum, rotated_by)
select $1, $2, coalesce(max(c.version), 0) + 1, $3, $4, (select u.id from auth.users as u where u.id = $5)
from public.connector_credentials as c
where c.connector_id = $2
returning version
