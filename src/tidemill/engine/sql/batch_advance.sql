-- Called by: a resumable fan-out, in the transaction that adds a chunk. Index: batch_pkey.
-- Fence: the caller's transaction is fenced; the row is locked first, so a closed batch takes no more jobs.
-- Parameters: batch, cursor (where the next chunk begins).
update tidemill.batch set cursor = $2 where id = $1 and state = 'open' returning id
