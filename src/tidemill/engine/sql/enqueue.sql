-- Called by: Engine.enqueue, Engine.enqueue_many and everything that makes jobs from Python.
-- Index: unique_key's primary key decides who gets a key; the rest only inserts.
-- Fence: none of its own; it runs in the caller's transaction and commits with the caller's data.
-- A job whose key is held is left out of the answer. A conflict with an open transaction waits for it (lock_timeout).
with asked as materialized (
  select nextval('tidemill.job_id') as id, u.*, tidemill.now() as at
  from unnest($1::int[], $2::int[], $3::smallint[], $4::smallint[], $5::uuid[], $6::uuid[], $7::text[], $8::jsonb[],
              $9::timestamptz[], $10::float8[])
       with ordinality as u (kind, queue, priority, max_attempts, tenant, batch, key, args, run_at, delay_s, ord)
), held as (
  insert into tidemill.unique_key (kind, key, job)
  select kind, key, id from asked where key is not null order by kind, key
  on conflict do nothing
  returning job
), taken as materialized (
  select *, tidemill.lane_of(tenant) as lane,
    coalesce(run_at, at + make_interval(secs => delay_s)) as due,
    (extract(epoch from at) * 1000)::bigint - priority * 60000 as rank
  from asked
  where key is null or id in (select job from held)
), ready as (
  insert into tidemill.job_ready
    (id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, enqueued_at, args)
  select id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, at, args
  from taken where due is null or due <= at order by ord
  returning queue
), delayed as (
  insert into tidemill.job_delayed
    (id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, enqueued_at, args, run_at)
  select id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, at, args, due
  from taken where due > at
), counted as (
  update tidemill.batch b set total = b.total + n.jobs
  from (select batch, count(*)::int as jobs from taken where batch is not null group by batch) n
  where b.id = n.batch
), woken as materialized (
  select pg_notify('tidemill_job', queue::text) from (select distinct queue from ready) q
)
select ord, id, (select count(*) from woken) as woken from taken
