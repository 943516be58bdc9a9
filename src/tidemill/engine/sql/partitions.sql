-- Called by: housekeeping. Index: none. Fence: safe beside any number of others; waits half a second for a lock at most.
select parent::text as parent, partition, outcome from tidemill.ensure_partitions()
