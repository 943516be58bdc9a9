-- Called by: cancel_batches, which locked the batch. Index: job_ready_batch, job_delayed_batch, job_lease_batch.
-- Fence: none: an ask holds for the job, wherever it goes meanwhile; heed_cancels ends what waits. Parameters: batch, who.
insert into tidemill.job_cancel (job, asked_by)
select m.id, $2
from (
  select id from tidemill.job_ready where batch = $1
  union all select id from tidemill.job_delayed where batch = $1
  union all select id from tidemill.job_lease where batch = $1
) m
order by m.id
on conflict (job) do nothing
