-- Called by: cron install --remove, in its transaction. Parameters: job.
select cron.unschedule(jobid) from cron.job where jobname = $1
