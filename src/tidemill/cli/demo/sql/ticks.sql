-- Called by: the demo's summary. Index: primary key. Parameters: runs in order.
select l.id as run_id, l.sync_batch_at as slot, l.status,
  (l.metadata ->> 'total_accounts')::int as total_accounts, (l.metadata ->> 'success_count')::int as success_count,
  (l.metadata ->> 'error_count')::int as error_count, (l.metadata ->> 'skipped_count')::int as skipped_count,
  round(extract(epoch from l.completed_at - l.started_at), 3)::float8 as seconds
from unnest($1::uuid[]) with ordinality as r (id, tick) join public.system_job_logs l on l.id = r.id
order by r.tick
