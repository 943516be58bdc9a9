-- Called by: Progress, once a second for all running jobs of the process that said something new, and for those that have ended since.
-- Index: job_lease_pkey, node_pkey, job_progress_pkey.
-- Fence: only for leases that are held, share-locked until the end of the statement. A lease that somebody is ending or taking right now
-- is left out and not waited for: finish takes its leases in an order of its own, and they would deadlock. Only rows of their own
-- attempt are removed, and none of a job whose next attempt says something in the same statement: that one overwrites it.
-- Parameters: arrays of job, token, node, done, total, note; then arrays of job, token to remove. Answers the attempts that are held.
with said as (
  select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
    as u (job, token, node, done, total, note)
), held as materialized (
  select s.* from said s
  join tidemill.job_lease l on l.id = s.job and l.token = s.token and l.node = s.node
  join tidemill.node n on n.id = l.node and n.expires_at > clock_timestamp()
  for share of l skip locked
), written as (
  insert into tidemill.job_progress as p (job, token, done, total, note, said_at)
  select job, token, done, total, note, clock_timestamp() from held order by job
  on conflict (job) do update
  set token = excluded.token, done = excluded.done, total = excluded.total, note = excluded.note, said_at = excluded.said_at
), removed as (
  delete from tidemill.job_progress where ctid = any (array(
    select p.ctid from tidemill.job_progress p
    join unnest($7::bigint[], $8::bigint[]) as o (job, token) on o.job = p.job and o.token = p.token
    where p.job <> all ($1::bigint[])
    for update of p skip locked))
)
select job, token from held
