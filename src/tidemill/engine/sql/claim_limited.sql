-- Called by: the worker's claim loop, when a claim said that there are jobs under a limit.
-- Index: flow_open, flow_until, job_ready_claim, job_lease_limited. Fence: as claim.sql.
-- Parameters: queue, node, most jobs. Answers a row a job, then one without: more and wait_s (see claim_limited).
select * from tidemill.claim_limited($1, $2, $3)
