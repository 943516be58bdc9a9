-- Called by: heed_cancels. Index: job_lease's primary key, from job_cancel, which holds only what was asked to stop.
-- Fence: the token tells whether the node still runs the attempt that is meant. Parameters: node.
select l.id, l.token, c.asked_by
from tidemill.job_cancel c join tidemill.job_lease l on l.id = c.job
where l.node = $1
order by l.id
