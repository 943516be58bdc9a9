-- Called by: tidemill sync-jobs rm. Its runs go with it. Index: primary key. Fence: an operator. Parameters: id.
delete from public.sync_jobs where id = $1
