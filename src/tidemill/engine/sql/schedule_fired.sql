-- Called by: Schedules.tick, when a chunk was undone: a next_at that was put back by hand leads to fires carried out before.
-- Index: schedule_fire_pkey. Fence: none; what is found is left out of another try. Parameters, as arrays: name, fire time.
select name, fire_at from tidemill.schedule_fire
where (name, fire_at) in (select * from unnest($1::text[], $2::timestamptz[]))
