-- Called by: the worker's claim loop, one statement and one round trip for up to $3 jobs.
-- Fair: lanes (tenants; 0 = jobs of none) that have work are found by a loose index scan from where the node's last claim stopped,
-- and each gives an equal share. Nothing is kept for it, so an enqueuer's open transaction holds up nobody.
-- Index: job_ready_claim (queue, lane, rank, id), one probe a lane, then a plain forward scan that stops at the lane's share.
-- Fence: draws one token for the statement; (id, token, node) guards all that follows. Parameters: queue, node, most jobs, most lanes,
-- the lane after which to begin (-1: at the first), whether to tell how long each job waited.
-- Answers a row a job. lane_after is where to go on, -1 after the last lane; more says that a lane had at least its share.
with recursive scan (lane, n) as (
  (select r.lane, 1 from tidemill.job_ready r where r.queue = $1 and r.lane > $5 order by r.lane limit 1)
  union all
  select (select r.lane from tidemill.job_ready r where r.queue = $1 and r.lane > s.lane order by r.lane limit 1), s.n + 1
  from scan s where s.lane is not null and s.n < least($3::int, $4::int)
), lanes as materialized (
  select lane from scan where lane is not null
), share as materialized (
  -- Rounded down, so that the last lanes are not cut: what is left over goes with the next claim.
  select $3::int / greatest(count(*), 1)::int as jobs from lanes
), pick as materialized (
  select r.place, l.lane
  from lanes l cross join lateral (
    select ctid as place from tidemill.job_ready
    where queue = $1 and lane = l.lane
      and kind <> all (array(select id from tidemill.kind where paused_at is not null))
    order by rank, id
    limit (select jobs from share)
    for update skip locked) r
  where exists (select from tidemill.queue where id = $1 and paused_at is null)
    and exists (select from tidemill.node where id = $2 and expires_at > clock_timestamp())
), gone as (
  delete from tidemill.job_ready where ctid = any (array(select place from pick)) returning *
), held as (
  insert into tidemill.job_lease
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args,
     ready_at, token, node, claimed_at)
  select id, queue, lane, rank, kind, priority, attempt + 1, crashes, max_attempts, tenant, batch, key, enqueued_at, args,
    ready_at, (select nextval('tidemill.lease_token')), $2, clock_timestamp()
  from gone
  returning id, token, node, kind, attempt, crashes, max_attempts, tenant, batch, args, rank, ctid as place,
    case when $6::bool then extract(epoch from claimed_at - coalesce(ready_at, enqueued_at))::float8 end as waited_s
)
select held.*, scanned.lane_after, scanned.more
from held right join (
  select case when (select count(*) from lanes) < least($3::int, $4::int) then -1 else (select max(lane) from lanes) end as lane_after,
    exists (select from pick group by lane having count(*) >= (select jobs from share)) as more
) scanned on true
