-- Called by: Firing.fire, a chunk of what is due. Index: sync_jobs_pkey, companies_pkey, integration_connectors_pkey.
-- Fence: none and no locks: fire_move compares what is read here. Parameter: jobs, in the order they are to start.
select j.id, j.company_id, j.connector_id, j.priority, j.version, j.next_run_at, j.schedule::text as schedule, c.timezone as zone,
  k.provider, t.now
from (select tidemill.now() as now offset 0) t
cross join unnest($1::uuid[]) with ordinality as a (id, ord)
join public.sync_jobs j on j.id = a.id
join public.companies c on c.id = j.company_id
join public.integration_connectors k on k.id = j.connector_id
where j.next_run_at <= t.now and j.planned_version = j.version
order by a.ord
