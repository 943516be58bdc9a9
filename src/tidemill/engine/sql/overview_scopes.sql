-- Called by: overview. Index: none; scope holds what was blocked within a day. Fence: none, it only looks. Parameters: most scopes.
select name, blocked_until, reason
from tidemill.scope where blocked_until > (select tidemill.now()) order by blocked_until desc, name limit $1
