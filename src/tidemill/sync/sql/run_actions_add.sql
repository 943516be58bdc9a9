-- Called by: the repair of a company's accounts, with what it has mended, in the same transaction. Index: sync_run_logs' primary key.
-- Fence: the run's fenced transaction. Parameters: run, actions (JSON array), account that is through (null = none), counts (JSON object).
update public.sync_run_logs
set applied_actions = applied_actions || $2::text::jsonb,
    metrics = metrics || case when $3::uuid is null then '{}' else jsonb_build_object('after', $3::uuid) end || $4::text::jsonb
where id = $1
