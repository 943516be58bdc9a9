-- Called by: upkeep, one batch a transaction. Index: batch_live.
-- Fence: the row is locked; from now on it takes no more jobs. Parameters: none.
update tidemill.batch set state = 'sealed', reason = 'deadline'
where id = (
  select id from tidemill.batch
  where state in ('open', 'sealed') and deadline <= (select tidemill.now())
  order by deadline limit 1 for update skip locked)
returning id, total, finished
