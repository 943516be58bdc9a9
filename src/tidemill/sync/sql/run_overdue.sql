-- Called by: the fan-out before its first page: whether a run past its deadline still waits for a node to end it. Until then its
-- jobs hold their accounts, and this run would skip them all. Index: batch_live. Parameters: this run's batch.
select exists (
  select from tidemill.batch where id <> $1 and state in ('open', 'sealed') and deadline <= (select tidemill.now()))
