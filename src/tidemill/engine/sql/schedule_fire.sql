-- Called by: Schedules.tick, in the transaction that enqueues the jobs of the fires it answers.
-- Index: schedule_pkey, schedule_fire_pkey.
-- Fence: compare-and-set on next_at, and one row per (schedule, fire time). A row that another node is moving right now is
-- that node's to fire: waiting for it would only queue the nodes up behind each other.
-- Parameters, as arrays: name, next_at as it was read, fire time, following fire time.
with planned as (
  select * from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[])
    as p (name, seen_at, fire_at, following_at)
), won as materialized (
  select s.name, p.fire_at, p.following_at
  from tidemill.schedule s join planned p on p.name = s.name and p.seen_at = s.next_at
  where s.paused_by is null and s.error is null
  for update of s skip locked
), moved as (
  update tidemill.schedule s set next_at = w.following_at, last_at = w.fire_at, updated_at = clock_timestamp()
  from won w where s.name = w.name
), fired as (
  insert into tidemill.schedule_fire (name, fire_at)
  select name, fire_at from won order by name
  on conflict do nothing
  returning name
)
select w.name, f.name is not null as fired from won w left join fired f on f.name = w.name order by w.name
