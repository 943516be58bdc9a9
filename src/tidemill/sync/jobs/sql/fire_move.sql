-- Called by: Firing.fire, first in the transaction that fires. Index: sync_jobs_pkey, a look-up for each.
-- Fence: compare-and-set on the fire and the version; a row that another node or anybody else is at right now is left to them.
-- What queues or replaces moves only while it is idle: run_state is written with each run, under the same lock.
-- Parameters, as arrays: job, next fire as it was read, version, following fire (null = none), whether it waits for the run before.
with won as materialized (
  select u.id, u.following_at
  from unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::timestamptz[], $5::boolean[]) as u (id, seen_at, version, following_at, waits)
  cross join lateral (
    select * from public.sync_jobs where id = u.id offset 0 for no key update skip locked
  ) j
  where j.next_run_at = u.seen_at and j.version = u.version and j.planned_version = j.version
    and j.paused_at is null and j.suspended_at is null and j.disabled_reason is null and j.plan_error is null
    and not (u.waits and j.run_state <> 'idle')
)
update public.sync_jobs j set next_run_at = w.following_at from won w where j.id = w.id
returning j.id
