-- Called by: Progress, once a second for all running jobs of the process that said something new, and for those that have ended since.
-- Index: job_lease_pkey, node_pkey, job_progress_pkey. Fence: only for leases that are held, share-locked in the order of their ids
-- until the end of the statement; only rows of their own attempt are removed.
-- Parameters: arrays of job, token, node, done, total, note; then arrays of job, token to remove. Answers the attempts that are held.
with said as (
  select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
    as u (job, token, node, done, total, note)
), held as materialized (
  select s.* from said s
  join tidemill.job_lease l on l.id = s.job and l.token = s.token and l.node = s.node
  join tidemill.node n on n.id = l.node and n.expires_at > clock_timestamp()
  order by s.job
  for share of l
), written as (
  insert into tidemill.job_progress as p (job, token, done, total, note, said_at)
  select job, token, done, total, note, clock_timestamp() from held order by job
  on conflict (job) do update
  set token = excluded.token, done = excluded.done, total = excluded.total, note = excluded.note, said_at = excluded.said_at
), removed as (
  delete from tidemill.job_progress p using unnest($7::bigint[], $8::bigint[]) as o (job, token)
  where p.job = o.job and p.token = o.token
)
select job, token from held
