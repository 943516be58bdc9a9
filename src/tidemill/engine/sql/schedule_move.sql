-- Called by: Schedules.tick, first in the transaction that fires.
-- Index: schedule_pkey, a look-up for each, however the table's statistics are. Never schedule_due: where many are due at one
-- instant, each would find them all.
-- Fence: compare-and-set on next_at. A row that another node is moving right now is that node's to fire: waiting for it would
-- only queue the nodes up behind each other.
-- Parameters, as arrays: name, next_at as it was read, following fire (null = none), last fire carried out (null = none).
with won as materialized (
  select p.name, p.following_at, p.last_at
  from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[]) as p (name, seen_at, following_at, last_at)
  cross join lateral (
    select next_at, paused_by, error from tidemill.schedule where name = p.name offset 0 for update skip locked
  ) s
  where s.next_at is not distinct from p.seen_at and s.paused_by is null and s.error is null
)
update tidemill.schedule s
set next_at = w.following_at, last_at = coalesce(w.last_at, s.last_at), updated_at = clock_timestamp()
from won w
where s.name = w.name
returning s.name
