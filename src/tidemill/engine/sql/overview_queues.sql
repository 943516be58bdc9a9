-- Called by: overview. Fence: none, it only looks.
-- Index: job_ready_claim (in its order, so that a count ends at its bound), job_delayed_due, job_lease_pkey, job_dead_died.
-- No count goes on past $1: $1 + 1 says "more". Of what is delayed, leased and dead $1 + 1 rows are read in all, so where a
-- table holds more its numbers are those of the next due, the first claimed and the last to die; the last columns say so.
-- Age counts from when a job might have started. Paused kinds are left out of it. It is exact where a queue holds no more than
-- $1 ready jobs; beyond, it is that of the oldest among those and the first job of each of 256 lanes.
-- Parameters: most jobs to count.
with clock as materialized (
  select tidemill.now() as now
), open as materialized (
  select array(select id from tidemill.kind where paused_at is not null) as paused_kinds
), delayed as materialized (
  select queue, attempt > 0 as is_tried from tidemill.job_delayed order by run_at limit $1 + 1
), leased as materialized (
  select queue from tidemill.job_lease order by id limit $1 + 1
), dead as materialized (
  select queue from tidemill.job_dead order by died_at desc, id desc limit $1 + 1
)
select q.name, least(r.jobs, $1)::int as ready,
  extract(epoch from clock.now - least(r.oldest, case when r.jobs > $1 then h.oldest end))::float8 as oldest_s,
  least(coalesce(l.jobs, 0), $1)::int as running,
  least(coalesce(d.untried, 0), $1)::int as delayed,
  least(coalesce(d.tried, 0), $1)::int as retrying,
  least(coalesce(x.jobs, 0), $1)::int as dead, q.paused_at, q.paused_by,
  r.jobs > $1 as more_ready, (select count(*) from leased) > $1 as more_running,
  (select count(*) from delayed) > $1 as more_delayed, (select count(*) from dead) > $1 as more_dead
from tidemill.queue q
cross join clock
cross join open
cross join lateral (
  select count(*) as jobs, min(j.since) filter (where j.kind <> all (open.paused_kinds)) as oldest
  from (
    select coalesce(ready_at, enqueued_at) as since, kind
    from tidemill.job_ready where queue = q.id order by queue, lane, rank, id limit $1 + 1) j
) r
cross join lateral (
  with recursive head (lane, kind, since, n) as (
    (select lane, kind, coalesce(ready_at, enqueued_at), 1 from tidemill.job_ready
     where queue = q.id and r.jobs > $1 order by queue, lane, rank, id limit 1)
    union all
    select next.lane, next.kind, next.since, h.n + 1
    from head h cross join lateral (
      select lane, kind, coalesce(ready_at, enqueued_at) as since from tidemill.job_ready
      where queue = q.id and lane > h.lane order by queue, lane, rank, id limit 1) next
    where h.n < 256
  )
  select min(since) filter (where kind <> all (open.paused_kinds)) as oldest from head
) h
left join (select queue, count(*) as jobs from leased group by queue) l on l.queue = q.id
left join (
  select queue, count(*) filter (where is_tried) as tried, count(*) filter (where not is_tried) as untried
  from delayed group by queue) d on d.queue = q.id
left join (select queue, count(*) as jobs from dead group by queue) x on x.queue = q.id
order by q.name
