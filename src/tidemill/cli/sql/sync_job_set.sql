-- Called by: tidemill sync-jobs set. Index: primary key. Fence: an operator. Null leaves a column as it is.
-- Parameters: id, name, payload, schedule, priority.
update public.sync_jobs
set name = coalesce($2, name), payload = coalesce($3, payload), schedule = coalesce($4, schedule), priority = coalesce($5, priority)
where id = $1
returning version
