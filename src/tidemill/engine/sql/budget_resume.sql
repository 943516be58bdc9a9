-- Called by: resume_budget. Index: budget_pkey. Fence: none, an operator's word. Parameters: scope.
update tidemill.budget
set blocked_until = null, reason = null, share = null, slow_until = null, updated_at = clock_timestamp()
where scope = $1 and (blocked_until > (select tidemill.now()) or slow_until > (select tidemill.now()))
returning scope
