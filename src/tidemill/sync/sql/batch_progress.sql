-- Called by: the fan-out, first thing in a chunk's transaction. Index: batch_pkey.
-- Fence: locks the batch against its deadline until the chunk commits. Parameters: batch.
select state, total, finished, cursor from tidemill.batch where id = $1 for no key update
