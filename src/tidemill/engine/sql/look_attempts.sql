-- Called by: find_job. Index: job_run_id. Fence: none, it only looks. Parameters: job, limit.
-- The latest attempts, in the order in which they ended.
select * from (
  select k.name as kind, q.name as queue, r.tenant, r.batch, r.attempt, r.crashes, r.outcome, r.reason, r.result, r.node,
    r.started_at, r.finished_at
  from tidemill.job_run r
  join tidemill.kind k on k.id = r.kind
  join tidemill.queue q on q.id = r.queue
  where r.id = $1
  order by r.finished_at desc
  limit $2
) latest
order by finished_at
