-- Called by: heed_cancels, after it ended what waited: forgets the asks of jobs that have ended.
-- Index: primary keys; job_ready has none by id and is read whole.
-- Fence: one snapshot, in which a job that lives is in one of these tables. Parameters: jobs.
delete from tidemill.job_cancel c
where c.job = any ($1::bigint[])
  and not exists (select from tidemill.job_lease l where l.id = c.job)
  and not exists (select from tidemill.job_delayed d where d.id = c.job)
  and c.job not in (select r.id from tidemill.job_ready r where r.id = any ($1::bigint[]))
