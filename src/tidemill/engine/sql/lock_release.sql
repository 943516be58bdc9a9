-- Called by: locks.release. Index: system_job_locks_pkey. Fence: compares the owner. Parameters: name, owner.
select tidemill.release_lock($1, $2)
