-- Called by: ReplayRecords, for a past run: what it covered. Index: sync_run_logs_pkey, idx_sync_run_logs_company_id.
-- Parameters: run, company, connector. A sync covers what happened since the sync before it that brought anything began, until its
-- own end; since is NULL for the first. Its streams are those it read; more than are listed means all, as NULL.
select r.payload, case when r.metrics ? 'streams_not_listed' then null else
           (select array_agg(s.name) from jsonb_object_keys(coalesce(r.metrics -> 'streams', '{}')) as s (name)) end as streams,
       (select max(b.started_at) from public.sync_run_logs as b
        where b.company_id = r.company_id and b.connector_id = r.connector_id and b.job_type = r.job_type
          and b.started_at < r.started_at and b.status in ('completed', 'partial')) as since,
       r.finished_at as until
from public.sync_run_logs as r
where r.id = $1 and r.company_id = $2 and r.connector_id = $3 and r.finished_at is not null
