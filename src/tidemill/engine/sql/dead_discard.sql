-- Called by: discard_dead and discard_dead_matching. Index: job_dead_pkey.
-- Fence: the rows are locked, so a job that is retried meanwhile is not discarded. Its history stays.
-- Parameters: jobs (null = by the rest), kind, queue, tenant, text within the reason, died since (each null = any), ids above, limit.
with wanted as materialized (
  select id from tidemill.job_dead
  where ($1::bigint[] is null or id = any ($1)) and ($2::int is null or kind = $2) and ($3::int is null or queue = $3)
    and ($4::uuid is null or tenant = $4) and ($5::text is null or strpos(lower(reason), lower($5)) > 0)
    and ($6::timestamptz is null or died_at >= $6) and id > $7
  order by id limit $8
  for update
)
delete from tidemill.job_dead d using wanted w where d.id = w.id returning d.id
