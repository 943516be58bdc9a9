-- Called by: Schedules.run.
-- Index: schedule_pkey. Parameter: name.
select kind, args, spec, tidemill.now() as now from tidemill.schedule where name = $1
