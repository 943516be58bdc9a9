-- Called by: declare_budgets, at each start of a process. Index: budget_pkey. Fence: none; what an operator set stands.
-- Parameters: scopes, most, seconds (arrays side by side).
insert into tidemill.budget as b (scope, most, per_s, declared, set_by)
select scope, most, per_s, true, 'code' from unnest($1::text[], $2::int[], $3::float8[]) as d (scope, most, per_s) order by scope
on conflict (scope) do update
  set most = excluded.most, per_s = excluded.per_s, declared = true, set_by = 'code', updated_at = clock_timestamp()
  where (b.declared or b.set_by is null) and (b.most, b.per_s, b.set_by) is distinct from (excluded.most, excluded.per_s, excluded.set_by)
