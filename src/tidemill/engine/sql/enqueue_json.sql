-- Called by: enqueue_with and enqueue_with_sync, on connections of the application's own, by whatever driver.
-- Index: those of enqueue.sql. Fence: none of its own; it commits with the caller's data.
-- The answer has a row a job, in order, NULL where the key is held. Parameter: the jobs as JSON text.
select id from tidemill.enqueue_many(cast(cast($1 as text) as jsonb)) as id
