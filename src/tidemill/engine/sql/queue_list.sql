-- Called by: list_queues. Index: none, the job tables are read whole. Fence: none, it only looks. Parameters: none.
-- A ready job's age counts from its enqueue, by Tidemill's clock.
select q.name, coalesce(r.jobs, 0) as ready, coalesce(d.jobs, 0) as delayed, coalesce(l.jobs, 0) as running,
  coalesce(x.jobs, 0) as dead, extract(epoch from clock.now - r.oldest)::float8 as oldest_ready_s, q.per_process, q.paused_at, q.paused_by
from tidemill.queue q
cross join (select tidemill.now() as now offset 0) clock
left join (select queue, count(*) as jobs, min(enqueued_at) as oldest from tidemill.job_ready group by queue) r on r.queue = q.id
left join (select queue, count(*) as jobs from tidemill.job_delayed group by queue) d on d.queue = q.id
left join (select queue, count(*) as jobs from tidemill.job_lease group by queue) l on l.queue = q.id
left join (select queue, count(*) as jobs from tidemill.job_dead group by queue) x on x.queue = q.id
order by q.name
