-- Called by: pause_kind. Whoever paused first keeps their name to it. Index: unique name.
-- Fence: none; the claim looks at paused_at, so what is claimed already goes on. Parameters: name, who.
update tidemill.kind
set paused_at = coalesce(paused_at, clock_timestamp()), paused_by = case when paused_at is null then $2 else paused_by end
where name = $1
returning paused_by
