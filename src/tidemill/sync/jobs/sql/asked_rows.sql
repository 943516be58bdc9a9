-- Called by: Asked.take_up, in the transaction that holds the jobs; a statement of its own, so that it sees what became of the runs.
-- Index: sync_run_logs_pkey, sync_jobs_pkey, companies_pkey, integration_connectors_pkey. Fence: see jobs_hold.
-- Parameters: runs, jobs that are held. provider is null where the connector has gone since.
select r.id, r.job_id, r.company_id, r.connector_id, j.priority, j.schedule ->> 'overlap' = 'allow' as is_free, c.status = 'active' as is_active, k.provider
from unnest($1::uuid[]) with ordinality as a (id, ord)
join public.sync_run_logs r on r.id = a.id
join public.sync_jobs j on j.id = r.job_id
join public.companies c on c.id = r.company_id
left join public.integration_connectors k on k.id = r.connector_id
where r.status = 'pending' and r.engine_job is null and r.job_id = any ($2::uuid[])
order by a.ord
