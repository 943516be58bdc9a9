-- Called by: drop_budget. Index: budget_pkey. Fence: none, an operator's word. What was given out and a pause stay; housekeeping
-- takes the row when both are over. Parameters: scope.
update tidemill.budget set most = null, per_s = null, declared = false, set_by = null, updated_at = clock_timestamp()
where scope = $1 and set_by is not null
returning scope
