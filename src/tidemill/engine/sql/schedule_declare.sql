-- Called by: Schedules.declare, at every start of a process.
-- Index: schedule_pkey.
-- Fence: none; an unchanged declaration writes nothing, so that processes starting together do not disturb a plan.
-- Parameters: name, kind, args, spec, next fire (null = none). The plan stands while the spec stays as it was.
insert into tidemill.schedule as s (name, kind, args, spec, next_at)
values ($1, $2, $3, $4, $5)
on conflict (name) do update
set kind = excluded.kind, args = excluded.args, spec = excluded.spec,
    next_at = case when s.spec = excluded.spec and s.error is null then coalesce(s.next_at, excluded.next_at) else excluded.next_at end,
    error = null, updated_at = clock_timestamp()
where (s.kind, s.args, s.spec) is distinct from (excluded.kind, excluded.args, excluded.spec)
   or s.error is not null or (s.next_at is null and excluded.next_at is not null)
