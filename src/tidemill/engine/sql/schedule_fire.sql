-- Called by: Schedules.tick, after it moved the schedules of these fires on, in the same transaction.
-- Index: schedule_fire_pkey: one row per (schedule, fire time). What is there already has been fired, and is left out.
-- Fence: the transaction holds the schedules. Parameters, as arrays: name, fire time.
insert into tidemill.schedule_fire (name, fire_at)
select * from unnest($1::text[], $2::timestamptz[])
on conflict do nothing
returning name, fire_at, ctid as place
