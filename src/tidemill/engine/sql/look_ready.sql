-- Called by: list_jobs. Index: job_ready_claim, in the order in which jobs are claimed.
-- Fence: none, it only looks.
-- Parameters: kind, queue, tenant, text within the reason, since (each null = any), position to go on after (null = first), limit.
select j.id, k.name as kind, q.name as queue, j.tenant, j.batch, j.attempt, j.max_attempts, j.at, j.outcome, j.reason, j.position
from (
  select id, kind, queue, tenant, batch, attempt, max_attempts, enqueued_at as at, null::text as outcome, null::text as reason,
    array[queue, lane, rank, id]::bigint[] as position
  from tidemill.job_ready
  where $4::text is null
    and ($1::int is null or kind = $1) and ($2::int is null or queue = $2) and ($3::uuid is null or tenant = $3)
    and ($5::timestamptz is null or enqueued_at >= $5)
    and ($6::bigint[] is null or (queue, lane, rank, id) > (($6::bigint[])[1]::int, ($6::bigint[])[2], ($6::bigint[])[3], ($6::bigint[])[4]))
  order by queue, lane, rank, id
  limit $7
) j
join tidemill.kind k on k.id = j.kind
join tidemill.queue q on q.id = j.queue
order by j.position
