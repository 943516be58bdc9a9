-- Called by: begin_batch, on connections of the application's own, by whatever driver.
-- Index: none. Fence: the caller's transaction. Parameters, all as text: kind that closes it, its arguments as JSON, deadline, tenant.
select cast(tidemill.open_batch(
  cast($1 as text), cast(cast($2 as text) as jsonb), cast(cast($3 as text) as timestamptz), cast(cast($4 as text) as uuid)) as text) as id
