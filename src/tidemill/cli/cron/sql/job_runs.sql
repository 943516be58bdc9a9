-- Called by: cron status. Index: job_run_details_pkey, read from its end. Parameters: job, limit.
select d.start_time as started_at, d.end_time as ended_at, d.status, d.return_message as message
from cron.job_run_details d
where d.jobid in (select jobid from cron.job where jobname = $1)
order by d.runid desc limit $2
