-- Called by: Context.transaction as its first statement. Index: job_lease_pkey, node_pkey.
-- Fence: this is the fence. Parameters: job, token, node.
select tidemill.fence($1, $2, $3)
