-- Called by: a worker whose connection to the database broke: a server that crashed may have forgotten its newest claims. Of the jobs
-- that run there, those whose lease is gone. Index: job_lease_pkey. Fence: none; it only looks.
-- Parameters: arrays of id, token; node.
select u.id, u.token
from unnest($1::bigint[], $2::bigint[]) as u (id, token)
where not exists (
  select from tidemill.job_lease l where l.id = u.id and l.token = u.token and l.node = $3)
