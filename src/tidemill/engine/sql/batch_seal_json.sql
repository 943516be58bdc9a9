-- Called by: begin_batch, on connections of the application's own, by whatever driver.
-- Index: batch_pkey. Fence: the caller's transaction, which made the batch. Parameter, as text: batch.
select tidemill.seal_batch(cast(cast($1 as text) as uuid)) as sealed
