-- Called by: find_job and cancel_jobs: where these jobs are, if they live or lie dead. One snapshot, so each is in one place.
-- Index: primary keys; job_ready has none by id and is read whole.
-- Fence: none, it only looks. Parameters: jobs.
select j.state, j.id, k.name as kind, q.name as queue, j.tenant, j.batch, j.priority, j.attempt, j.crashes, j.max_attempts,
  j.key, j.args, j.at, j.reason, n.name as node, c.asked_by as cancel_asked_by,
  p.done, p.total, p.note, p.said_at
from (
  select 'ready' as state, id, kind, queue, tenant, batch, priority, attempt, crashes, max_attempts, key, args,
    enqueued_at as at, null as reason, null::bigint as node, null::bigint as token
  from tidemill.job_ready where id = any ($1::bigint[])
  union all
  select 'delayed', id, kind, queue, tenant, batch, priority, attempt, crashes, max_attempts, key, args, run_at, null, null, null
  from tidemill.job_delayed where id = any ($1::bigint[])
  union all
  select 'running', id, kind, queue, tenant, batch, priority, attempt, crashes, max_attempts, key, args, claimed_at, null, node, token
  from tidemill.job_lease where id = any ($1::bigint[])
  union all
  select 'dead', id, kind, queue, tenant, batch, priority, attempt, crashes, max_attempts, key, args, died_at, reason, null, null
  from tidemill.job_dead where id = any ($1::bigint[])
) j
join tidemill.kind k on k.id = j.kind
join tidemill.queue q on q.id = j.queue
left join tidemill.node n on n.id = j.node
left join tidemill.job_cancel c on c.job = j.id
left join tidemill.job_progress p on p.job = j.id and p.token = j.token
