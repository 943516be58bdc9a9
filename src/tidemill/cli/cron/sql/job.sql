-- Called by: cron status. Parameters: job.
select jobid, jobname, schedule, command, active, database, username from cron.job where jobname = $1 order by jobid limit 1
