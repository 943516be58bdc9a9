-- Called by: Batches.seal, once all jobs are in. Index: batch_pkey.
-- Fence: compare-and-set on state; an empty or already drained batch closes at once. Parameters: batch.
with sealed as (
  update tidemill.batch
  set state = case when finished >= total then 'closing' else 'sealed' end,
      reason = case when finished >= total then 'drained' end
  where id = $1 and state = 'open'
  returning id, state, reason, close_kind, close_queue, close_args, tenant
)
select state,
  case state when 'closing' then tidemill.enqueue_closing(id, reason, close_kind, close_queue, close_args, tenant) end as job
from sealed
