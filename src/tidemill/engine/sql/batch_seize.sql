-- Called by: upkeep at a batch's deadline, after batch_overdue locked the batch.
-- Index: job_ready_batch, job_delayed_batch, job_lease_batch.
-- Fence: every member gets a new token and this node as holder, so whoever ran it commits nothing more.
-- Parameters: batch, node, limit.
with token as materialized (
  select tidemill.new_token() as token
), ready as (
  delete from tidemill.job_ready where ctid = any (array(
    select ctid from tidemill.job_ready where batch = $1 limit $3 for update))
  returning id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace
), delayed as (
  delete from tidemill.job_delayed where ctid = any (array(
    select ctid from tidemill.job_delayed where batch = $1 limit $3 for update))
  returning id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace
), leased as (
  update tidemill.job_lease l set token = token.token, node = $2 from token
  where l.ctid = any (array(select ctid from tidemill.job_lease where batch = $1 limit $3 for update))
  returning l.id, l.token, l.node, l.kind, l.attempt, l.crashes, l.max_attempts, l.tenant, l.batch, l.args, l.trace, l.ctid as place, l.lane
), parked as (
  insert into tidemill.job_lease
    (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args, trace,
     token, node, claimed_at)
  select m.*, token.token, $2, clock_timestamp()
  from (select * from ready union all select * from delayed) m, token
  returning id, token, node, kind, attempt, crashes, max_attempts, tenant, batch, args, trace, ctid as place, lane
)
select * from leased union all select * from parked
