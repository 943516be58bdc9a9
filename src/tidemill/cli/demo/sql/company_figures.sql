-- Called by: the demo's summary. Index: synced_records_pkey, idx_connector_state_company_id. Parameters: company, connector.
select (select count(*) from public.synced_records where company_id = $1 and connector_id = $2 and deleted_at is null) as records,
  (select s.cursor from public.connector_state s where s.company_id = $1 and s.connector_id = $2) as cursor
