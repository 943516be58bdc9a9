-- Called by: the worker's claim loop, one statement and one round trip for up to $3 jobs.
-- Index: job_ready_claim (queue, lane, rank, id), a plain forward scan that stops at the limit.
-- Fence: draws one token for the statement; (id, token, node) guards all that follows. Parameters: queue, node, limit.
with gone as (
  delete from tidemill.job_ready
  where ctid = any (array(
    select r.ctid from tidemill.job_ready r join tidemill.queue q on q.id = r.queue
    where r.queue = $1 and r.lane = 0 and q.paused_at is null
      and exists (select from tidemill.node n where n.id = $2 and n.expires_at > clock_timestamp())
    order by r.rank, r.id
    limit $3
    for update of r skip locked))
  returning *
)
insert into tidemill.job_lease
  (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args,
   token, node, claimed_at)
select id, queue, lane, rank, kind, priority, attempt + 1, crashes, max_attempts, tenant, batch, key, enqueued_at, args,
  (select nextval('tidemill.lease_token')), $2, clock_timestamp()
from gone
returning id, token, node, kind, attempt, crashes, max_attempts, tenant, batch, args, rank
