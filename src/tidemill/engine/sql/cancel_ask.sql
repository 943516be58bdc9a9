-- Called by: cancel_jobs and cancel_matching, after what waited has been ended.
-- Index: job_lease's primary key; it holds only what is running.
-- Fence: none: an ask holds for the job, and heed_cancels forgets the asks of jobs that have ended meanwhile.
-- Parameters: jobs (null = by the rest), kind, queue, tenant, enqueued since, and until (each null = any), who.
with running as materialized (
  select id from tidemill.job_lease
  where ($1::bigint[] is null or id = any ($1)) and ($2::int is null or kind = $2) and ($3::int is null or queue = $3)
    and ($4::uuid is null or tenant = $4) and ($5::timestamptz is null or enqueued_at >= $5)
    and ($6::timestamptz is null or enqueued_at <= $6)
), asked as (
  insert into tidemill.job_cancel (job, asked_by) select id, $7 from running order by id on conflict (job) do nothing
)
select id from running
