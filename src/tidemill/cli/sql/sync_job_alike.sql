-- A job by hand that does the same. Called by: tidemill replay and repair. Index: idx_sync_jobs_connector.
-- Parameters: company, connector, type, payload.
select id from public.sync_jobs
where company_id = $1 and connector_id = $2 and job_type = $3 and payload = $4 and schedule = '{}'
order by created_at
limit 1
