-- Called by: finish, before leases of limited jobs end. Index: flow_pkey, job_limit_pkey.
-- Lock order: the limits, shared, before the leases; a claim under these limits waits, or is waited for.
-- Parameters: the lanes of those jobs.
select tidemill.hold_limits($1::bigint[])
