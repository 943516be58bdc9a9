-- Called by: Engine, for one job that enqueue_plain could take: as it is most often, and somebody waits for it.
-- Index: none; it only inserts. Fence: none of its own; it runs in the caller's transaction and commits with the caller's data.
-- Reads the clock as tidemill.now() does, as a scalar: from a table of however many rows a plan would be made anew for each job, which
-- takes longer than the rest. Parameters: kind, queue, priority, most attempts, tenant, arguments, trace.
insert into tidemill.job_ready (id, queue, lane, rank, kind, priority, max_attempts, tenant, enqueued_at, args, trace)
select nextval('tidemill.job_id'), $2, tidemill.lane_of($5), (extract(epoch from at) * 1000)::bigint - $3::smallint * 60000,
  $1, $3, $4, $5, at, $6::text::jsonb, $7
from (select clock_timestamp() + (select "offset" from tidemill.clock) as at) c
returning id, pg_notify('tidemill_job', queue::text)
