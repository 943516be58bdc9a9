-- Called by: whoever was given a name that does not exist, to say which do. Index: none, the tables are small.
-- Fence: none, it only looks. Parameters: whether kinds are meant (else queues), limit.
select name from tidemill.kind where $1 union all select name from tidemill.queue where not $1
order by name limit $2
