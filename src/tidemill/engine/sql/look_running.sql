-- Called by: list_jobs. Index: none; job_lease holds only what is running. What has run longest comes first.
-- Fence: none, it only looks.
-- Parameters: kind, queue, tenant, text within the reason, since (each null = any), position to go on after (null = first), limit.
select j.id, k.name as kind, q.name as queue, j.tenant, j.batch, j.attempt, j.max_attempts, j.at, j.outcome, j.reason, j.position,
  p.done, p.total, p.note, p.said_at
from (
  select id, token, kind, queue, tenant, batch, attempt, max_attempts, claimed_at as at, null::text as outcome, null::text as reason,
    array[(extract(epoch from claimed_at) * 1000000), id]::bigint[] as position
  from tidemill.job_lease
  where $4::text is null
    and ($1::int is null or kind = $1) and ($2::int is null or queue = $2) and ($3::uuid is null or tenant = $3)
    and ($5::timestamptz is null or claimed_at >= $5)
    and ($6::bigint[] is null or (claimed_at, id) > (timestamptz 'epoch' + ($6::bigint[])[1] * interval '1 microsecond', ($6::bigint[])[2]))
  order by claimed_at, id
  limit $7
) j
join tidemill.kind k on k.id = j.kind
join tidemill.queue q on q.id = j.queue
left join tidemill.job_progress p on p.job = j.id and p.token = j.token
order by j.position
