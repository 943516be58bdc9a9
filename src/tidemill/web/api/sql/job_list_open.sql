-- Called by: GET /sync-jobs of status queued or running, inside tenant_session(): row security decides.
-- Index: idx_sync_run_logs_status, then sync_jobs (company_id, id) for each job with an open run, in the order of their ids. Only from
-- PostgreSQL 17 on does one index scan take a list of ids in that order.
-- Fence: none, it reads. Parameters: connector (null = any), status, last id before, limit.
select j.id, j.company_id, j.connector_id, j.name, j.job_type, j.payload::text as payload, j.schedule::text as schedule, j.priority,
    j.status, j.version, j.next_run_at, j.last_run_at, j.last_run_status, j.last_error, j.failures, j.plan_error, j.paused_at,
    j.suspended_at, j.disabled_reason, j.created_at, j.updated_at
from unnest((
    select array_agg(distinct r.id order by r.id)
    from unnest(array(select r.job_id from public.sync_run_logs as r where r.status in ('pending', 'running'))) as r (id)
)) with ordinality as o (id, place)
cross join lateral (select * from public.sync_jobs as s where s.id = o.id limit 1) as j
where ($1::uuid is null or j.connector_id = $1) and j.status = $2 and ($3::uuid is null or o.id > $3)
order by o.place
limit $4
