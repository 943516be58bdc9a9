-- Called by: Harness.enqueued. Index: none; a test's database holds few jobs.
-- Fence: none, it only looks. Parameters: none.
select j.id, k.name as kind, j.args, q.name as queue, j.key, j.tenant, j.priority, j.attempt, j.enqueued_at, j.at
from (
  select id, kind, args, queue, key, tenant, priority, attempt, enqueued_at, null::timestamptz as at from tidemill.job_ready
  union all
  select id, kind, args, queue, key, tenant, priority, attempt, enqueued_at, run_at from tidemill.job_delayed
) j
join tidemill.kind k on k.id = j.kind
join tidemill.queue q on q.id = j.queue
order by j.id
