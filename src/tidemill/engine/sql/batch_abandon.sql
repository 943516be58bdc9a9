-- Called by: tell_owners, for closing jobs that were cancelled or are dead, in the transaction that ends them.
-- Index: batch_pkey, kind_name_key; system_job_locks by batch. Fence: the transaction ended the job's lease; only a batch that waits
-- for a closing job of that kind. Without this its lock would be renewed for ever.
-- Parameters, as arrays: batch, kind of the job, whether the batch is over (a dead job may be retried, and then closes it).
with abandoned as (
  select b.id, u.is_over
  from unnest($1::uuid[], $2::text[], $3::bool[]) as u (batch, kind, is_over)
  join tidemill.kind k on k.name = u.kind
  join tidemill.batch b on b.id = u.batch and b.close_kind = k.id and b.state = 'closing'
), closed as (
  update tidemill.batch set state = 'closed', closed_at = clock_timestamp(), reason = 'cancelled'
  where id = any (array(select id from abandoned where is_over))
)
update public.system_job_locks l set locked_until = clock_timestamp(), updated_at = clock_timestamp(), batch_id = null
from abandoned a where l.batch_id = a.id and l.owner = a.id::text
