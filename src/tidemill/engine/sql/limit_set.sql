-- Called by: set_limit and declare_limits. Index: job_limit's unique columns. Fence: locks the table of leases, so that no claim is under
-- way (see the function). Parameters: queue, kind, tenant (null = any), per, what, most, seconds, whether it is code's, who.
select tidemill.set_limit($1, $2, $3, $4, $5, $6, $7, $8, $9)
