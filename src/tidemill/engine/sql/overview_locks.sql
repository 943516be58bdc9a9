-- Called by: overview. Index: idx_system_job_locks_locked_until. Fence: none, it only looks. Parameters: most locks.
select job_type as name, owner, batch_id as batch, locked_until
from public.system_job_locks where locked_until > clock_timestamp() order by locked_until desc limit $1
