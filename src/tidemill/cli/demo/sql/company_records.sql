-- Called by: the demo's audit. Index: synced_records_pkey. Parameters: company, connector.
select data, last_seen_at from public.synced_records where company_id = $1 and connector_id = $2 and deleted_at is null
