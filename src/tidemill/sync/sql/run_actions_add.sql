-- Called by: the repair of a company's accounts, with what it has mended, in the same transaction. Index: sync_run_logs' primary key.
-- Fence: the run's fenced transaction. Parameters: run, actions (JSON array), counts and how far it is (JSON object).
update public.sync_run_logs
set applied_actions = applied_actions || $2::text::jsonb, metrics = metrics || $3::text::jsonb
where id = $1
