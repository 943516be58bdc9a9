-- Called by: Engine.enqueue_many, for the many: jobs that may start now, without a unique key and in no batch.
-- Index: none; it only inserts. Fence: none of its own; it runs in the caller's transaction and commits with the caller's data.
-- Ids are drawn in the order of the input, so sorted they are in its order. The rest of what may be said of a job takes enqueue.sql.
-- Parameters: arrays of kind, queue, priority, most attempts, tenant, arguments, trace. One of the first four may be a single value, which
-- then holds for all jobs: five thousand cost a third less where they are of one kind. One of the others that is NULL is NULL for each job.
with asked as (
  select coalesce(u.kind, ($1::int[])[1]) as kind, coalesce(u.queue, ($2::int[])[1]) as queue,
    coalesce(u.priority, ($3::smallint[])[1]) as priority, coalesce(u.max_attempts, ($4::smallint[])[1]) as max_attempts,
    tenant, args, trace, (select tidemill.now()) as at
  from unnest($1::int[], $2::int[], $3::smallint[], $4::smallint[], $5::uuid[], $6::text[], $7::text[])
    as u (kind, queue, priority, max_attempts, tenant, args, trace)
), ready as (
  insert into tidemill.job_ready (id, queue, lane, rank, kind, priority, max_attempts, tenant, enqueued_at, args, trace)
  select nextval('tidemill.job_id'), queue, tidemill.lane_of(tenant), (extract(epoch from at) * 1000)::bigint - priority * 60000,
    kind, priority, max_attempts, tenant, at, args::jsonb, trace
  from asked
  returning id, queue
), by_queue as (
  select queue, array_agg(id) as ids from ready group by queue
)
select ids, pg_notify('tidemill_job', queue::text) from by_queue
