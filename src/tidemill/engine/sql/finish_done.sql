-- Called by: Finisher.flush, for the many: jobs of this node that are done, without a result, in no batch.
-- Index: none; a lease row is never updated, so it is where the claim put it (one TID fetch a job).
-- Fence: a lease row goes only if id, token and node match. Rows not returned: lease lost, or the table was rewritten meanwhile; the
-- caller asks finish.sql, which looks by id. Parameters: node; arrays of id, token, place (ctid).
with freed as materialized (
  delete from tidemill.job_lease l using unnest($2::bigint[], $3::bigint[], $4::tid[]) as u (id, token, place)
  where l.ctid = u.place and l.id = u.id and l.token = u.token and l.node = $1
  returning l.id, l.queue, l.kind, l.attempt, l.crashes, l.tenant, l.key, l.claimed_at
), history as (
  insert into tidemill.job_run (id, queue, kind, attempt, crashes, tenant, outcome, node, started_at, finished_at)
  select id, queue, kind, attempt, crashes, tenant, 'done', $1, claimed_at, clock_timestamp() from freed
), unlocked as (
  delete from tidemill.unique_key k using freed f
  where f.key is not null and k.kind = f.kind and k.key = f.key and k.job = f.id
)
select array(select id from freed)
