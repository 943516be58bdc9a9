-- Called by: a company's sync, while it waits for its accounts. Index: batch_pkey. Fence: none; it only looks. Parameters: batch.
select state from tidemill.batch where id = $1
