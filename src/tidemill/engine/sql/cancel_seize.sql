-- Called by: cancel_jobs, cancel_matching and heed_cancels, before finish in the same transaction.
-- Index: job_delayed's primary key; job_ready has none by id and is read until the limit.
-- Fence: takes what waits, never what runs: a job that is being claimed is waited for, and is then not here any more. The leases
-- are nobody's (node 0) and are gone at the commit. A batch at its deadline locks the other way round: 40P01, retried.
-- Parameters: jobs (null = by the rest), kind, queue, tenant, enqueued since, and until (each null = any), limit (of each table).
with token as materialized (
  select tidemill.new_token() as token
), ready as (
  delete from tidemill.job_ready where ctid = any (array(
    select ctid from tidemill.job_ready
    where ($1::bigint[] is null or id = any ($1)) and ($2::int is null or kind = $2) and ($3::int is null or queue = $3)
      and ($4::uuid is null or tenant = $4) and ($5::timestamptz is null or enqueued_at >= $5)
      and ($6::timestamptz is null or enqueued_at <= $6)
    limit $7 for update))
  returning id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace
), delayed as (
  delete from tidemill.job_delayed where ctid = any (array(
    select ctid from tidemill.job_delayed
    where ($1::bigint[] is null or id = any ($1)) and ($2::int is null or kind = $2) and ($3::int is null or queue = $3)
      and ($4::uuid is null or tenant = $4) and ($5::timestamptz is null or enqueued_at >= $5)
      and ($6::timestamptz is null or enqueued_at <= $6)
    limit $7 for update))
  returning id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace
)
insert into tidemill.job_lease
  (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace,
   token, node, claimed_at)
select m.*, token.token, 0, clock_timestamp()
from (select * from ready union all select * from delayed) m, token
returning id, token, node, kind, attempt, crashes, max_attempts, tenant, batch, args, trace, ctid as place, lane
