-- Called by: a worker process that stops gracefully.
-- Index: node_pkey. Fence: a node that still holds leases stays until they are rescued. Parameters: node.
delete from tidemill.node n
where n.id = $1
  and not exists (select from tidemill.job_lease l where l.node = n.id)
