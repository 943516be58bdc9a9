-- Called by: the closing job of a company's accounts: what they came to, of a run that ended before they did (it was cancelled).
-- Index: sync_run_logs' primary key. Fence: the closing job's fenced transaction; it closes once. Parameters: run, counts.
update public.sync_run_logs set metrics = metrics || $2 where id = $1 and finished_at is not null
