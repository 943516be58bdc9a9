-- Called by: Engine.enqueue, Engine.enqueue_many and everything that makes jobs from Python.
-- Index: unique_key's primary key decides who gets a key; the rest only inserts. The body is shared with SQL's own callers.
-- Fence: none of its own; it runs in the caller's transaction and commits with the caller's data.
-- Jobs that say no more than most do go by enqueue_plain. A job whose key is held is left out of the answer. A conflict with an open transaction waits for it (lock_timeout).
select ord, id from tidemill.enqueue_jobs(
  $1::int[], $2::int[], $3::smallint[], $4::smallint[], $5::uuid[], $6::uuid[], $7::text[], $8::text[]::jsonb[], $9::timestamptz[], $10::float8[],
  $11::text[])
