-- Called by: the schedule's tick: whether the run that holds the lock is past its deadline or only has its closing job to go.
-- Index: system_job_locks_pkey, batch_pkey. Parameters: job type.
select tidemill.now() as now,
  l.locked_until > clock_timestamp()
    and (b.state = 'closing' or b.state <> 'closed' and b.deadline <= (select tidemill.now())) as ending
from public.system_job_locks l join tidemill.batch b on b.id = l.batch_id
where l.job_type = $1
