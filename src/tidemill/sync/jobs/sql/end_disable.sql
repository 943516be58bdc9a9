-- Called by: end_runs, for jobs that have failed too often. Index: sync_jobs_pkey. Fence: the transaction holds the jobs.
-- Parameters, as arrays: job, run that was one too many, why.
with disabled as (
  update public.sync_jobs j set disabled_reason = u.reason, next_run_at = null
  from unnest($1::uuid[], $2::uuid[], $3::text[]) as u (job, run, reason)
  where j.id = u.job and j.disabled_reason is null
  returning j.company_id, j.id, u.run, u.reason
)
insert into public.sync_notifications (company_id, job_id, run_id, kind, message, created_at)
select company_id, id, run, 'job_disabled', reason, tidemill.now() from disabled
