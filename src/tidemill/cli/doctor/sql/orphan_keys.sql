-- Called by: doctor. Index: job_delayed_pkey, job_lease_pkey; job_ready has none by id and is hashed. Parameters: most keys to tell.
-- Unique keys whose job waits nowhere and does not run: nothing will ever free them. One snapshot, in which a job is somewhere.
select n.name, k.job, format('delete from tidemill.unique_key where kind = %s and key = %L', k.kind, k.key) as fix
from tidemill.unique_key k join tidemill.kind n on n.id = k.kind
where not exists (select from tidemill.job_lease j where j.id = k.job)
  and not exists (select from tidemill.job_delayed j where j.id = k.job)
  and not exists (select from tidemill.job_ready j where j.id = k.job)
limit $1
