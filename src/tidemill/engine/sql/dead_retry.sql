-- Called by: retry_dead and retry_dead_matching. Index: job_dead_pkey; unique_key's primary key decides who gets a key.
-- Fence: the dead rows are locked, so that two operators do not retry one job twice. A conflict with an open transaction over a key
-- waits for it (lock_timeout). The batch has counted the job as dead and does not count it again.
-- Parameters: jobs (null = by the rest), kind, queue, tenant, text within the reason, died since (each null = any), ids above, limit.
with wanted as materialized (
  select *, tidemill.now() as at from tidemill.job_dead
  where ($1::bigint[] is null or id = any ($1)) and ($2::int is null or kind = $2) and ($3::int is null or queue = $3)
    and ($4::uuid is null or tenant = $4) and ($5::text is null or strpos(lower(reason), lower($5)) > 0)
    and ($6::timestamptz is null or died_at >= $6) and id > $7
  order by id limit $8
  for update
), held as (
  insert into tidemill.unique_key (kind, key, job)
  select kind, key, id from wanted where key is not null order by kind, key, id
  on conflict do nothing
  returning job
), gone as (
  delete from tidemill.job_dead d using wanted w
  where d.id = w.id and (w.key is null or w.id in (select job from held))
  returning d.id
), forgotten as (
  delete from tidemill.job_cancel c using gone where c.job = gone.id
), ready as (
  insert into tidemill.job_ready (id, queue, lane, rank, kind, priority, max_attempts, tenant, key, enqueued_at, args, trace)
  select id, queue, tidemill.lane_of(tenant), (extract(epoch from at) * 1000)::bigint - priority * 60000, kind, priority, max_attempts, tenant,
    key, at, args, trace
  from wanted where id in (select id from gone)
  returning queue
), woken as materialized (
  select pg_notify('tidemill_job', queue::text) from (select distinct queue from ready) q
)
select id, id in (select id from gone) as retried, (select count(*) from woken) as woken from wanted order by id
