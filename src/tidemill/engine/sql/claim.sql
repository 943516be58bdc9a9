-- Called by: the worker's claim loop, one statement and one round trip for up to $3 jobs.
-- Fair: lanes (tenants; 0 = jobs of none) that have work are found by a loose index scan, round from where the node's last claim
-- stopped, and each gives a share as large as its weight. Nothing is kept for it, so an enqueuer's open transaction holds up nobody.
-- Jobs under a limit, or of a paused kind, are moved aside into lanes below zero (see claim_limited), which this never scans.
-- Index: job_ready_claim (queue, lane, rank, id), one probe a lane, then a plain forward scan that stops at the lane's share.
-- Fence: draws one token for the statement; (id, token, node) guards all that follows.
-- Its commit does not wait for the disk: what a crash of the server makes it forget waits again, and who holds a forgotten lease is
-- refused. Whatever is written for a job has its claim on disk before. Parameters: queue, node, most jobs, most lanes,
-- the lane after which to begin (-1: at the first), what the first lane is owed of its weight (0: all of it), whether to tell
-- how long each job waited.
-- Answers a row a job. lane_after and owed say where to go on; more, that a lane had at least its share or that there may be lanes
-- beyond; limited, that there are jobs for claim_limited.
with recursive ahead (lane, n) as (
  (select r.lane, 1 from tidemill.job_ready r where r.queue = $1 and r.lane > $5 order by r.lane limit 1)
  union all
  select (select r.lane from tidemill.job_ready r where r.queue = $1 and r.lane > s.lane order by r.lane limit 1), s.n + 1
  from ahead s where s.lane is not null and s.n < least($3::int, $4::int)
), round (lane, n) as (
  (select r.lane, 1 from tidemill.job_ready r
   where r.queue = $1 and r.lane between 0 and $5 and (select count(lane) from ahead) < least($3::int, $4::int)
   order by r.lane limit 1)
  union all
  select (select r.lane from tidemill.job_ready r where r.queue = $1 and r.lane > s.lane and r.lane <= $5 order by r.lane limit 1), s.n + 1
  from round s where s.lane is not null and s.n < least($3::int, $4::int) - (select count(lane) from ahead)
), lanes as materialized (
  -- The last one may have to wait for a part of its share.
  select lane, place, least(weight, $3::int - before)::int as weight, greatest(weight - ($3::int - before), 0)::int as owed from (
    select lane, weight, row_number() over w as place, sum(weight) over w - weight as before
    from (
      select s.lane, s.behind, case when $6::int > 0 and s.lane = $5 + 1 then $6::int else coalesce(w.weight, 1) end as weight
      from (select lane, false as behind from ahead union all select lane, true from round) s
      left join tidemill.tenant_weight w on w.lane = s.lane
      where s.lane is not null) weighed
    window w as (order by behind, lane)) summed
  where before < $3::int
), last as materialized (
  select lane, owed, place from lanes order by place desc limit 1
), share as materialized (
  -- Rounded down, so that the last lanes are not cut: what is left over goes with the next claim.
  select $3::int / greatest(sum(weight), 1)::int as jobs from lanes
), pick as materialized (
  select r.place, l.lane, l.weight
  from lanes l cross join lateral (
    select ctid as place from tidemill.job_ready
    where queue = $1 and lane = l.lane
    order by rank, id
    limit l.weight * (select jobs from share)
    for update skip locked) r
  where exists (select from tidemill.queue where id = $1 and paused_at is null)
    and exists (select from tidemill.node where id = $2 and expires_at > clock_timestamp())
), bounds as materialized (
  select kind, tenant, per from tidemill.job_limit where queue is null or queue = $1
  union all
  select id, null, '' from tidemill.kind where paused_at is not null
), gone as (
  delete from tidemill.job_ready where ctid = any (array(select place from pick)) returning *
), aside as (
  insert into tidemill.job_ready
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace, ready_at)
  select g.id, g.queue, tidemill.limited_lane(g.queue, g.kind, g.tenant, tidemill.counted(g.kind, g.args)), g.rank, g.kind, g.priority,
    g.attempt, g.crashes, g.max_attempts, g.tenant, g.batch, g.key, g.enqueued_at, g.args, g.trace,
    g.ready_at
  from gone g
  where (select count(*) from bounds) > 0 and exists (
    select from bounds b where (b.kind is null or b.kind = g.kind) and (b.tenant is null or b.tenant = g.tenant)
      and (b.per <> 'tenant' or g.tenant is not null))
  returning queue, lane, kind, tenant, tidemill.counted(kind, args) as counted
), told as (
  insert into tidemill.flow_wake (queue, lane, kind, tenant, counted) select distinct queue, lane, kind, tenant, counted from aside
), held as (
  insert into tidemill.job_lease
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace,
     ready_at, token, node, claimed_at)
  select id, queue, lane, rank, kind, priority, attempt + 1, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace,
    ready_at, (select tidemill.new_token()), $2, clock_timestamp()
  from gone g
  where (select count(*) from bounds) = 0 or not exists (
    select from bounds b where (b.kind is null or b.kind = g.kind) and (b.tenant is null or b.tenant = g.tenant)
      and (b.per <> 'tenant' or g.tenant is not null))
  returning id, token, node, kind, attempt, crashes, max_attempts, tenant, batch, args, rank, trace, ctid as place, lane,
    case when $7::bool then extract(epoch from claimed_at - coalesce(ready_at, enqueued_at))::float8 end as waited_s
)
select held.*, scanned.lane_after, scanned.owed, scanned.more, scanned.limited
from held right join (select set_config('synchronous_commit', 'off', true)) unhurried on true right join (
  select
    coalesce((select case when owed > 0 then lane - 1 else lane end from last), -1) as lane_after,
    coalesce((select owed from last), 0) as owed,
    coalesce((select owed > 0 or place = least($3::int, $4::int) from last), false)
      or exists (select from pick group by lane having count(*) >= min(weight) * (select jobs from share)) as more,
    exists (select from aside)
      or exists (select from tidemill.flow_wake where queue = $1)
      or exists (select from tidemill.flow where queue = $1 and parked_by is null)
      or exists (select from tidemill.flow where queue = $1 and parked_until <= (select tidemill.now())) as limited
) scanned on true
