-- Called by: a worker process that stops gracefully, and rescue for rows long expired.
-- Index: node_pkey. Fence: a node that still holds leases stays until they are rescued. Parameters: node (null = expired ones).
delete from tidemill.node n
where (n.id = $1 or $1 is null and n.expires_at < clock_timestamp() - interval '1 hour')
  and not exists (select from tidemill.job_lease l where l.node = n.id)
