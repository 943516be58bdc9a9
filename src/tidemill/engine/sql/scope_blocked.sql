-- Called by: Scopes.blocked, before work that would call outside. Index: scope_pkey. Parameters: names.
select name, blocked_until, reason from tidemill.scope where name = any ($1::text[]) and blocked_until > tidemill.now()
