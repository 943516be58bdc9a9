-- Called by: overview. Index: node_pkey; node has a row per process, job_lease one per running job. Fence: none, it only looks.
-- A node that expired stays for an hour, or for as long as it holds jobs. Parameters: most jobs to count, most nodes.
with held as (
  select node, count(*) as jobs from (select node from tidemill.job_lease order by id limit $1 + 1) l group by node
)
select n.id, n.name as host, n.pid, n.version, n.started_at, n.expires_at - n.ttl as beat_at,
  n.expires_at, n.expires_at > clock_timestamp() as is_alive, coalesce(h.jobs, 0)::int as jobs, n.queues
from tidemill.node n left join held h on h.node = n.id
order by is_alive desc, n.name, n.pid, n.id limit $2
