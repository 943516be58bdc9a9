-- Called by: Budgets.spend, in a transaction of its own, when a process has used up what it leased before. Index: budget_pkey.
-- Fence: none; who loses its job has spent calls for nothing. Locks the scope's row for the one statement.
-- Parameters: scope, the patterns that hold for it, calls needed, calls wanted.
select * from tidemill.lease_budget($1, $2::text[], $3, $4)
