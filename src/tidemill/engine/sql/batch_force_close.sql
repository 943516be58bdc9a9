-- Called by: upkeep at a batch's deadline when no member was left to count it out. Index: batch_pkey.
-- Fence: compare-and-set on state, in the transaction that locked the batch. Parameters: batch.
with closed as (
  update tidemill.batch set state = 'closing' where id = $1 and state = 'sealed'
  returning id, reason, close_kind, close_queue, close_args, tenant
)
select tidemill.enqueue_closing(id, reason, close_kind, close_queue, close_args, tenant) as job from closed
