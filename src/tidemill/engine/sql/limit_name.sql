-- Called by: set_limit. Index: unique name. Fence: none, it only looks. Parameters: whether a kind is meant (else a queue), name.
select id from tidemill.kind where $1 and name = $2 union all select id from tidemill.queue where not $1 and name = $2
