-- Called by: overview. Index: budget_blocked. Fence: none, it only looks. Parameters: most scopes.
select scope as name, blocked_until, reason
from tidemill.budget where blocked_until > (select tidemill.now()) order by blocked_until desc, scope limit $1
