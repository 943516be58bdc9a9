-- Called by: the worker's claim loop when it was told of new jobs after a wait: mostly one has come, and claim's round over the lanes
-- would take longer than that job. What there is in the first lanes is taken, $3 jobs at most; whoever gets as many goes on with claim.
-- Nothing is taken (closer) where a limit or a paused kind asks for a closer look: by claim. Jobs set aside are not looked for: what
-- makes room for them has the worker look closer, and so does every wake that tells of no new job.
-- Index: job_ready_claim (queue, lane, rank, id), read forward from its first lane.
-- Fence: as in claim. Runs in a session whose commits do not wait for the disk, which claim tells the reason of: to say so here would
-- take as long as a look at a table. Parameters: queue, node, most jobs, whether to tell how long each job waited.
with closer as materialized (
  select exists (select from tidemill.job_limit where queue is null or queue = $1)
    or exists (select from tidemill.kind where paused_at is not null) as closer
), gone as (
  delete from tidemill.job_ready
  where ctid = any (array(
    select ctid from tidemill.job_ready
    where queue = $1 and lane >= 0 and not (select closer from closer)
      and exists (select from tidemill.queue where id = $1 and paused_at is null)
      and exists (select from tidemill.node where id = $2 and expires_at > clock_timestamp())
    order by lane, rank, id
    limit $3
    for update skip locked))
  returning *
), held as (
  insert into tidemill.job_lease
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace,
     ready_at, token, node, claimed_at)
  select id, queue, lane, rank, kind, priority, attempt + 1, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace,
    ready_at, (select tidemill.new_token()), $2, clock_timestamp()
  from gone
  returning id, token, node, kind, attempt, crashes, max_attempts, tenant, batch, args, rank, trace, ctid as place, lane,
    case when $4::bool then extract(epoch from claimed_at - coalesce(ready_at, enqueued_at))::float8 end as waited_s
)
select held.*, closer.closer
from closer left join held on true
