-- Called by: drop_limit and declare_limits. Index: job_limit_pkey. Fence: as limit_set. Parameters: the limit.
select tidemill.drop_limit($1)
