-- Called by: cancel_jobs, for jobs that are nowhere alive. Index: job_run_id. Fence: none, it only looks. Parameters: jobs.
select distinct on (id) id, outcome from tidemill.job_run
where id = any ($1::bigint[]) and outcome not in ('retry', 'crashed')
order by id, finished_at desc
