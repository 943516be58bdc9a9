-- Called by: set_budget. Index: budget_pkey. Fence: none, an operator's word. Parameters: scope, most, seconds, who.
insert into tidemill.budget (scope, most, per_s, set_by) values ($1, $2, $3, $4)
on conflict (scope) do update
  set most = excluded.most, per_s = excluded.per_s, declared = false, set_by = excluded.set_by, updated_at = clock_timestamp()
