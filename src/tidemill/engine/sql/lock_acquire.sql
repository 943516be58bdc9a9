-- Called by: locks.acquire. Index: system_job_locks_pkey. Fence: one upsert that only overwrites a lock that ran out.
-- Parameters: name, owner, ttl, batch.
select acquired, locked_until, fence from tidemill.acquire_lock($1, $2, $3, $4)
