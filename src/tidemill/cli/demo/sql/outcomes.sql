-- Called by: the demo's summary. Index: primary key. Parameters: runs in order.
-- Accounts by status and reason in each run, as the runs' own rows list them: 60 are fewer than a row's limit.
select r.tick::int as tick, o.status, o.reason, count(*)::int as accounts
from unnest($1::uuid[]) with ordinality as r (id, tick)
join public.system_job_logs l on l.id = r.id
cross join lateral jsonb_to_recordset(l.metadata -> 'results') as o (status text, reason text)
group by r.tick, o.status, o.reason
order by array_position(array['completed', 'partial', 'failed', 'skipped'], o.status), o.reason nulls first, r.tick
