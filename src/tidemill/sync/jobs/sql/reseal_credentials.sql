-- Called by: credentials.rotate, as the engine's role. Index: primary key.
-- Fence: compare-and-set on the ciphertext that was opened. Parameters: id, ciphertext before, after, its checksum.
update public.connector_credentials set secret_ciphertext = $3, checksum = $4
where id = $1 and secret_ciphertext = $2
returning true
