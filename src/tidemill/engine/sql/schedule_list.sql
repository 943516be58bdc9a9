-- Called by: Schedules.list.
-- Index: none; schedules declared in code are few. Parameters: none.
select name, kind, spec, next_at, last_at, paused_by, error from tidemill.schedule order by name
