-- Called by: rescue, inside its transaction.
-- Index: anti-join of job_lease (small: what is running) with node (tiny).
-- Fence: the leases are locked, so their holders can no longer pass tidemill.fence. Parameters: limit.
select l.id, l.token, l.node, l.kind, l.attempt, l.crashes, l.max_attempts, l.tenant, l.batch, l.args, l.trace, l.ctid as place, l.lane
from tidemill.job_lease l
where not exists (select from tidemill.node n where n.id = l.node and n.expires_at > clock_timestamp())
order by l.id
limit $1
for update of l skip locked
