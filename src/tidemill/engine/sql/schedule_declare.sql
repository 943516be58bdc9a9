-- Called by: Schedules.declare, at every start of a process.
-- Index: schedule_pkey.
-- Fence: none; an unchanged declaration writes nothing, so that processes starting together do not disturb a plan.
-- Parameters: name, kind, args, cron, timezone, next fire. The plan stands while cron and zone stay as they were.
insert into tidemill.schedule as s (name, kind, args, cron, timezone, next_at)
values ($1, $2, $3, $4, $5, $6)
on conflict (name) do update
set kind = excluded.kind, args = excluded.args, cron = excluded.cron, timezone = excluded.timezone,
    next_at = case
      when s.cron = excluded.cron and s.timezone = excluded.timezone and s.error is null
        then coalesce(s.next_at, excluded.next_at)
      else excluded.next_at
    end,
    error = null, updated_at = clock_timestamp()
where (s.kind, s.args, s.cron, s.timezone) is distinct from (excluded.kind, excluded.args, excluded.cron, excluded.timezone)
   or s.error is not null or s.next_at is null
