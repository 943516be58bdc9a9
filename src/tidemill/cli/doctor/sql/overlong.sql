-- Called by: doctor. Index: job_lease_pkey, node_pkey; job_lease has a row per running job. Parameters: seconds of grace.
-- Jobs in the hands of a living process that run for longer than twice what their kind may take.
select l.id, k.name as kind, n.name as host, n.pid, k.timeout, date_trunc('second', clock_timestamp() - l.claimed_at) as held
from tidemill.job_lease l join tidemill.kind k on k.id = l.kind join tidemill.node n on n.id = l.node
where n.expires_at > clock_timestamp() and l.claimed_at + 2 * k.timeout < clock_timestamp() - make_interval(secs => $1)
order by l.claimed_at limit 100
