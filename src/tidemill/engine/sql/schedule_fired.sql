-- Called by: Schedules.tick, after it enqueued the jobs of the fires it noted, in the same transaction.
-- Index: none: the rows are where this transaction put them. Fence: likewise.
-- Parameters, as arrays: place (ctid), job (null = the job of the fire before had not ended).
update tidemill.schedule_fire f set job_id = u.job_id
from unnest($1::tid[], $2::bigint[]) as u (place, job_id)
where f.ctid = u.place
