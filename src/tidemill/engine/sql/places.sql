-- Called by: finish, for leases that are not where the claim put them: VACUUM FULL or CLUSTER has moved them, or they are lost.
-- Index: job_lease_pkey. Fence: none; finish compares id, token and node again. Parameters: jobs.
select id, ctid as place, lane from tidemill.job_lease where id = any ($1::bigint[])
