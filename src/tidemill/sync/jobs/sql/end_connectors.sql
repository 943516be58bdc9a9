-- Called by: end_runs, first: connectors are held before jobs, jobs before runs. Index: sync_run_logs_pkey, integration_connectors_pkey.
-- Fence: the transaction is fenced, or it is the one that ends the engine's jobs. Parameter: runs.
select c.id from public.integration_connectors c
where c.id = any (array(select r.connector_id from public.sync_run_logs r where r.id = any ($1::uuid[])))
order by c.id
for no key update
