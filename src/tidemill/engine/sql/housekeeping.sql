-- Called by: every worker process at its start and once an hour, again and again while there is more to do.
-- Index: batch_closed, job_dead_died, schedule_fire_at (BRIN); the other tables are small.
-- Fence: correct when any number of nodes run it at once. job_dead rows that are being retried are left alone.
-- Parameters: days that fires and ended batches are kept, that dead jobs are kept (0 = for ever), that history is kept; most rows
-- of each table.
with nodes as (
  delete from tidemill.node where ctid = any (array(
    select n.ctid from tidemill.node n
    where n.expires_at < clock_timestamp() - interval '1 hour'
      and not exists (select from tidemill.job_lease l where l.node = n.id)
    limit $4 for update skip locked))
  returning 1
), fires as (
  delete from tidemill.schedule_fire where ctid = any (array(
    select ctid from tidemill.schedule_fire where fire_at < (select tidemill.now()) - make_interval(days => $1)
    limit $4 for update skip locked))
  returning 1
), budgets as (
  -- Of which nothing is set, paused or slowed any more, and nothing counts: no window is longer than a day.
  delete from tidemill.budget where ctid = any (array(
    select ctid from tidemill.budget
    where set_by is null and greatest(blocked_until, slow_until, '-infinity') < (select tidemill.now()) - interval '1 day'
      and (leased = '{}' or updated_at < clock_timestamp() - interval '2 days')
    limit $4 for update skip locked))
  returning 1
), batches as (
  delete from tidemill.batch where ctid = any (array(
    select ctid from tidemill.batch where state = 'closed' and closed_at < clock_timestamp() - make_interval(days => $1)
    order by closed_at limit $4 for update skip locked))
  returning 1
), dead as (
  delete from tidemill.job_dead where ctid = any (array(
    select ctid from tidemill.job_dead where $2 > 0 and died_at < clock_timestamp() - make_interval(days => $2)
    order by died_at limit $4 for update skip locked))
  returning 1
), progress as (
  delete from tidemill.job_progress where ctid = any (array(
    select p.ctid from tidemill.job_progress p
    where not exists (select from tidemill.job_lease l where l.id = p.job and l.token = p.token)
    limit $4 for update skip locked))
  returning 1
), rates as (
  -- Of groups that nothing is given out to any more; no window is longer than a day.
  delete from tidemill.job_rate where ctid = any (array(
    select ctid from tidemill.job_rate where slot < (select tidemill.now()) - interval '2 days' limit $4 for update skip locked))
  returning 1
), strays as (
  -- What no partition took. The others are dropped whole.
  delete from tidemill.job_run_default where ctid = any (array(
    select ctid from tidemill.job_run_default where finished_at < clock_timestamp() - make_interval(days => $3)
    limit $4 for update skip locked))
  returning 1
)
select (select count(*) from nodes)::int as nodes, (select count(*) from fires)::int as fires,
  (select count(*) from budgets)::int as budgets, (select count(*) from batches)::int as batches,
  (select count(*) from dead)::int as dead, (select count(*) from progress)::int as progress,
  (select count(*) from rates)::int as rates, (select count(*) from strays)::int as strays
