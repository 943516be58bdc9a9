-- Called by: Schedules.tick, in the transaction that enqueues the jobs of the fires it answers.
-- Index: schedule_pkey, schedule_fire_pkey.
-- Fence: compare-and-set on next_at, and one row per (schedule, fire time). A row that another node is moving right now is
-- that node's to fire: waiting for it would only queue the nodes up behind each other.
-- Parameters, as arrays: of each schedule the name, next_at as it was read, following fire time (null = none); of each fire
-- the schedule's name, fire time.
with planned as (
  select * from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as p (name, seen_at, following_at)
), won as materialized (
  -- One probe of the primary key for each, whatever the planner takes the rest for: joined and without statistics it read every
  -- schedule for every plan.
  select s.name, p.following_at
  from planned p cross join lateral (
    select name, next_at, paused_by, error from tidemill.schedule where name = p.name offset 0 for update skip locked) s
  where s.next_at = p.seen_at and s.paused_by is null and s.error is null
), fires as materialized (
  select f.name, f.fire_at
  from unnest($4::text[], $5::timestamptz[]) as f (name, fire_at) join won on won.name = f.name
), latest as (
  select name, max(fire_at) as fire_at from fires group by name
), moved as (
  update tidemill.schedule s
  set next_at = w.following_at, last_at = coalesce(l.fire_at, s.last_at), updated_at = clock_timestamp()
  from won w left join latest l on l.name = w.name
  where s.name = w.name
), fired as (
  insert into tidemill.schedule_fire (name, fire_at)
  select name, fire_at from fires order by name, fire_at
  on conflict do nothing
  returning name, fire_at
)
select w.name, f.fire_at from won w left join fired f on f.name = w.name order by w.name, f.fire_at
