-- Called by: the claim loop, for a while after a claim whose answer was lost. It may have been committed all the same; nobody
-- would ever rescue what it took, since this node lives. Index: none; job_lease holds only what is running.
-- Fence: this process's own leases, in a queue that it claims from nowhere else.
-- Parameters: queue, node, the jobs it knows of.
select id, token, node, kind, attempt, crashes, max_attempts, tenant, batch, args, rank, trace, ctid as place, lane
from tidemill.job_lease
where queue = $1 and node = $2 and id <> all ($3::bigint[])
