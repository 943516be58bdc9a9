-- Called by: declare_kinds, at every start of a process.
-- Index: kind_name_key.
-- Fence: none; an unchanged declaration writes nothing. Sorted, so that processes starting together do not deadlock.
-- Parameters, as arrays: name, queue, priority, max attempts, claim that is the tenant (NULL: not exposed), most waiting jobs,
-- timeout (s).
insert into tidemill.kind as k (name, queue, priority, max_attempts, exposed, tenant_claim, most_waiting, timeout)
select d.name, tidemill.intern_queue(d.queue), d.priority, d.max_attempts, d.claim is not null,
  coalesce(d.claim, 'company_id'), d.most_waiting, make_interval(secs => least(d.timeout_s, 1e9))
from unnest($1::text[], $2::text[], $3::smallint[], $4::smallint[], $5::text[], $6::int[], $7::float8[])
  as d (name, queue, priority, max_attempts, claim, most_waiting, timeout_s)
order by d.name
on conflict (name) do update
set queue = excluded.queue, priority = excluded.priority, max_attempts = excluded.max_attempts, exposed = excluded.exposed,
    tenant_claim = excluded.tenant_claim, most_waiting = excluded.most_waiting, timeout = excluded.timeout
where (k.queue, k.priority, k.max_attempts, k.exposed, k.tenant_claim, k.most_waiting, k.timeout) is distinct from
  (excluded.queue, excluded.priority, excluded.max_attempts, excluded.exposed, excluded.tenant_claim, excluded.most_waiting,
   excluded.timeout)
