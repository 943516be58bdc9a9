-- Called by: Budgets.block. Index: budget_pkey. Fence: none needed, a longer block always wins.
-- Parameters: scope, pause (interval), reason, and names of which one must be set by somebody (null = it need not).
with known as materialized (
  select $4::text[] is null or exists (select from tidemill.budget where scope = any ($4::text[]) and set_by is not null) as is_known
), written as (
  insert into tidemill.budget as b (scope, blocked_until, reason)
  select $1, tidemill.now() + $2, $3 from known where is_known
  on conflict (scope) do update
    set blocked_until = excluded.blocked_until, reason = excluded.reason, updated_at = clock_timestamp()
    where b.blocked_until is null or b.blocked_until < excluded.blocked_until
)
select is_known from known
