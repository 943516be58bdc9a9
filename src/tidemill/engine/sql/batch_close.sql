-- Called by: the closing job, in its fenced transaction: the batch is over and its named lock is free.
-- Index: batch_pkey; system_job_locks by batch. Fence: only the lock that this batch still owns. Parameters: batch.
with closed as (
  update tidemill.batch set state = 'closed', closed_at = clock_timestamp() where id = $1 and state = 'closing'
  returning id, total, finished, counts, reason
), freed as (
  update public.system_job_locks l set locked_until = clock_timestamp(), updated_at = clock_timestamp(), batch_id = null
  from closed where l.batch_id = closed.id and l.owner = closed.id::text
)
select total, finished, counts, reason from closed
