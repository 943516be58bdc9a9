-- Called by: end_runs, in the transaction that holds their jobs. Index: sync_run_logs_pkey, integration_connectors_pkey.
-- Fence: see end_connectors. Parameters, as arrays: run, status, reason, error (null = as it is), metrics and actions as JSON
-- (null = as they are).
with clock as materialized (
  select tidemill.now() as now
), ended as (
  update public.sync_run_logs r
  set status = u.status, reason = u.reason, finished_at = clock.now,
    error_detail = coalesce(u.error, r.error_detail),
    metrics = coalesce(u.metrics, r.metrics), applied_actions = coalesce(u.actions, r.applied_actions)
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]::jsonb[], $6::text[]::jsonb[])
    as u (run, status, reason, error, metrics, actions), clock
  where r.id = u.run and r.status in ('pending', 'running')
  returning r.id, r.connector_id, r.status
)
update public.integration_connectors c set last_synced_at = clock.now
from clock, (select distinct connector_id from ended where status = 'completed') e
where c.id = e.connector_id
