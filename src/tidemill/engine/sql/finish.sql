-- Called by: Finisher.flush (many jobs of one node), rescue and batch deadlines (jobs taken from others).
-- Index: none for leases: a row is never updated, so it is where the claim put it (one TID fetch a job). Ids are compared as sums, and keys
-- looked up one by one (unique_key's primary key): a plan made while nothing ran would join by reading all there is for each job.
-- batch's primary key.
-- Fence: a lease row goes only if id, token and node all match. Rows not returned = lease lost, nothing written for them.
-- Lock order: batches (sorted) before leases. Parameters: arrays of id, token, node, outcome, reason, result, delay (s),
-- run_at, place (the lease's ctid); then the sorted distinct batches of these jobs.
-- What goes back to waiting goes to its tenant's lane: only a claim tells flow of lanes below zero.
-- Outcomes: done, partial, skipped, cancelled, failed, dead are terminal; retry and snooze wait; release and crashed go back.
with asked as (
  select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::jsonb[], $7::float8[],
                       $8::timestamptz[], $9::tid[]) as u (id, token, node, outcome, reason, result, delay_s, run_at, place)
), locked as materialized (
  select id, state from tidemill.batch where id = any ($10::uuid[]) order by id for no key update
), freed as materialized (
  delete from tidemill.job_lease l using asked u
  where l.ctid = u.place and l.id + 0 = u.id and l.token = u.token and l.node = u.node and (select count(*) from locked) >= 0
  returning l.id, l.queue, l.lane, l.rank, l.kind, l.priority, l.attempt, l.crashes, l.max_attempts, l.tenant, l.batch, l.key,
    l.enqueued_at, l.args, l.trace, l.node, l.claimed_at, u.outcome, u.reason, u.result, u.delay_s, u.run_at,
    u.outcome in ('done', 'partial', 'skipped', 'cancelled', 'failed', 'dead') as terminal
), history as (
  insert into tidemill.job_run
    (id, queue, kind, attempt, crashes, tenant, batch, outcome, reason, result, node, started_at, finished_at)
  select id, queue, kind, attempt, crashes, tenant, batch, outcome, reason, result, node, claimed_at, clock_timestamp()
  from freed where outcome not in ('snooze', 'release')
), buried as (
  insert into tidemill.job_dead
    (id, queue, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, args, trace, reason, died_at)
  select id, queue, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, args, trace, reason, clock_timestamp()
  from freed where outcome = 'dead'
), waiting as (
  insert into tidemill.job_delayed
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace, run_at)
  select id, queue, tidemill.lane_of(tenant), rank, kind, priority, case outcome when 'snooze' then attempt - 1 else attempt end, crashes,
    max_attempts, tenant, batch, key, enqueued_at, args, trace, coalesce(run_at, tidemill.now() + make_interval(secs => delay_s))
  from freed where outcome in ('retry', 'snooze')
), back as (
  insert into tidemill.job_ready
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace, ready_at)
  select id, queue, tidemill.lane_of(tenant), rank, kind, priority, attempt - 1, case outcome when 'crashed' then crashes + 1 else crashes end,
    max_attempts, tenant, batch, key, enqueued_at, args, trace, (select tidemill.now())
  from freed where outcome in ('release', 'crashed')
  returning queue
), unlocked as (
  delete from tidemill.unique_key
  where ctid = any (array(
    select k.place
    from freed f
    cross join lateral (select ctid as place from tidemill.unique_key where kind = f.kind and key = f.key and job = f.id offset 0) k
    where f.terminal and f.key is not null))
), counted as (
  update tidemill.batch b
  set finished = b.finished + n.jobs,
      counts = tidemill.add_counts(b.counts, n.counts),
      state = case when b.state = 'sealed' and b.finished + n.jobs >= b.total then 'closing' else b.state end,
      reason = case when b.state = 'sealed' and b.finished + n.jobs >= b.total then coalesce(b.reason, 'drained') else b.reason end
  from (
    select batch, sum(jobs)::int as jobs, jsonb_object_agg(outcome, jobs) as counts
    from (select batch, outcome, count(*) as jobs from freed where terminal and batch is not null group by 1, 2) per
    group by batch) n
  join locked k on k.id = n.batch
  where b.id = n.batch
  -- One that was closing before is closed by the job it has.
  returning b.id, k.state = 'sealed' and b.state = 'closing' as closes, b.reason, b.close_kind, b.close_queue, b.close_args, b.tenant
), closing as materialized (
  select tidemill.enqueue_closing(id, reason, close_kind, close_queue, close_args, tenant) from counted where closes
), woken as materialized (
  select pg_notify('tidemill_job', queue::text) from (select distinct queue from back) q
)
select id, (select count(*) from woken) + (select count(*) from closing) as woken from freed
