-- Called by: paused_kinds. Index: none, the table is small. Fence: none, it only looks. Parameters: none.
select name, paused_at, paused_by from tidemill.kind where paused_at is not null order by name
