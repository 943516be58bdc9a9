-- Called by: Scopes.block. Index: scope_pkey. Fence: none needed, a longer block always wins.
-- Parameters: name, pause (interval), reason.
insert into tidemill.scope as s (name, blocked_until, reason) values ($1, tidemill.now() + $2, $3)
on conflict (name) do update
  set blocked_until = excluded.blocked_until, reason = excluded.reason, updated_at = clock_timestamp()
  where s.blocked_until < excluded.blocked_until
