-- Called by: RepairRecords. Index: sync_jobs_pkey. Parameters: sync jobs. Fence: the caller's transaction.
select tidemill.settle_sync_jobs($1)
