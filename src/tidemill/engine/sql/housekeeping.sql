-- Called by: every worker process at its start and once an hour. Index: none worth one, the tables are small.
-- Fence: correct when any number of nodes run it at once. Parameters: days that fires and ended batches are kept.
with nodes as (
  delete from tidemill.node n
  where n.expires_at < clock_timestamp() - interval '1 hour'
    and not exists (select from tidemill.job_lease l where l.node = n.id)
  returning 1
), fires as (
  delete from tidemill.schedule_fire where fire_at < tidemill.now() - make_interval(days => $1) returning 1
), scopes as (
  delete from tidemill.scope where blocked_until < tidemill.now() - interval '1 day' returning 1
), batches as (
  delete from tidemill.batch where state = 'closed' and closed_at < clock_timestamp() - make_interval(days => $1) returning 1
)
select (select count(*) from nodes)::int as nodes, (select count(*) from fires)::int as fires,
  (select count(*) from scopes)::int as scopes, (select count(*) from batches)::int as batches
