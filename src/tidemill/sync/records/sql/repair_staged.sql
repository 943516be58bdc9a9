-- Called by: RepairRecords: what was staged by runs that have ended. Index: sync_run_logs_pkey, staged_record_pkey.
-- Parameters: company, connector, whether to remove it, how many runs to name. Fence: the caller's transaction.
with orphaned as materialized (
    select s.run, s.stream, count(*) as count
    from tidemill.staged_record as s
    join public.sync_run_logs as r on r.id = s.run
    where r.company_id = $1 and r.connector_id = $2 and r.finished_at is not null
    group by s.run, s.stream
),
removed as (
    delete from tidemill.staged_record as s using orphaned as o where s.run = o.run and s.stream = o.stream and $3
)
select stream, sum(count)::bigint as count, (array_agg(run::text order by run))[1:$4] as keys
from orphaned group by stream order by stream
