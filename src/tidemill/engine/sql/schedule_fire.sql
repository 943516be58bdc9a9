-- Called by: Schedules.tick, after it moved schedules on and enqueued the jobs of their fires, in the same transaction.
-- Index: schedule_fire_pkey, one row per (schedule, fire time): a fire that was carried out before is an error, which undoes all.
-- Fence: the transaction holds the schedules. Parameters, as arrays: name, fire time, job (null = the one before had not ended).
insert into tidemill.schedule_fire (name, fire_at, job_id)
select * from unnest($1::text[], $2::timestamptz[], $3::bigint[])
