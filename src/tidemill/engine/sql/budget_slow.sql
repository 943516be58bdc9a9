-- Called by: Budgets.lower. Index: budget_pkey. Fence: none needed, the newest word of the provider counts.
-- Parameters: scope, share that may be used (null = all of it), for how long (interval).
insert into tidemill.budget (scope, share, slow_until)
values ($1, $2, case when $2::real is not null then tidemill.now() + $3 end)
on conflict (scope) do update set share = excluded.share, slow_until = excluded.slow_until, updated_at = clock_timestamp()
