-- Called by: Schedules.tick, after it enqueued the jobs of the fires it won, in the same transaction.
-- Index: schedule_fire_pkey.
-- Fence: the rows were inserted by this transaction. Parameters, as arrays: name, fire time, job.
update tidemill.schedule_fire f set job_id = u.job_id
from unnest($1::text[], $2::timestamptz[], $3::bigint[]) as u (name, fire_at, job_id)
where f.name = u.name and f.fire_at = u.fire_at
