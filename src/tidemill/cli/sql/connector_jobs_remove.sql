-- Called by: tidemill connectors rm --with-jobs. Index: idx_sync_jobs_connector. Fence: an operator. Parameters: company, connector.
delete from public.sync_jobs where company_id = $1 and connector_id = $2
