-- Called by: LiveCursor, when a stream is begun. Index: connector_state_pkey. Parameters: company, connector, stream.
select cursor, version, rows_ever from public.connector_state where company_id = $1 and connector_id = $2 and stream = $3
