-- Called by: every worker process once a beat: heartbeat, due jobs, lock renewal and a look for work of the rarer kind.
-- Index: node_pkey, job_delayed_due, job_ready_claim, system_job_locks_pkey, batch_live; sleeping jobs cost nothing.
-- Fence: correct when any number of nodes run it at once. Parameters: node, ttl (s), most jobs to promote.
with beat as (
  update tidemill.node set expires_at = clock_timestamp() + make_interval(secs => $2)
  where id = $1 and expires_at > clock_timestamp()
  returning id
), clamped as (
  -- The clock was set back: nobody's time may last longer than it would from now on, or the leases of the dead did.
  update tidemill.node set expires_at = clock_timestamp() + ttl where id <> $1 and expires_at > clock_timestamp() + ttl
), due as (
  delete from tidemill.job_delayed
  where ctid = any (array(
    select ctid from tidemill.job_delayed where run_at <= (select tidemill.now()) order by run_at limit $3
    for update skip locked))
  returning *
), ready as (
  insert into tidemill.job_ready
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace, ready_at)
  select id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace, run_at
  from due
  returning queue
), woken as materialized (
  select pg_notify('tidemill_job', queue::text) from (select distinct queue from ready) q
), renewed as (
  update public.system_job_locks l set locked_until = clock_timestamp() + l.ttl, updated_at = clock_timestamp()
  from tidemill.batch b
  where b.id = l.batch_id and b.state <> 'closed' and l.owner = b.id::text and l.locked_until > clock_timestamp()
    and exists (select from beat)
)
select
  exists (select from beat) as alive,
  (select count(*) from due)::int as promoted,
  (select count(*) from woken)::int as woken,
  exists (
    select from tidemill.job_lease
    where node <> all (array(select id from tidemill.node where expires_at > clock_timestamp()))) as orphans,
  exists (
    select from tidemill.batch where state in ('open', 'sealed') and deadline <= (select tidemill.now())) as overdue,
  exists (select from tidemill.job_cancel) as cancels,
  array(
    select q.id from tidemill.queue q
    where q.paused_at is null and (
      -- Not exists: for a queue without work the planner would read the whole table in hope of an early end.
      (select r.lane from tidemill.job_ready r where r.queue = q.id and r.lane >= 0 order by r.lane limit 1) is not null
      or exists (select from tidemill.flow f where f.queue = q.id and f.parked_by is null)
      or exists (select from tidemill.flow_wake w where w.queue = q.id))) as queues,
  (select jsonb_object_agg(id, per_process) from tidemill.queue where per_process is not null) as per_process,
  (select extract(epoch from next_at - tidemill.now())::float8 from tidemill.schedule
   where paused_by is null and error is null order by next_at limit 1) as next_fire_s
