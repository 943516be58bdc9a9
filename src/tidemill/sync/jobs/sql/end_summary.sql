-- Called by: end_runs, after it ended the runs. Index: sync_jobs_pkey. Fence: the transaction holds the jobs.
-- Parameters, as arrays: job, when its last run began, how that ended, its error, failures in a row, next fire.
update public.sync_jobs j
set last_run_at = u.last_run_at, last_run_status = u.last_run_status, last_error = u.last_error, failures = u.failures,
  next_run_at = u.next_run_at
from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::int[], $6::timestamptz[])
  as u (id, last_run_at, last_run_status, last_error, failures, next_run_at)
where j.id = u.id
