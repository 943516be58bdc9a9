-- Called by: LiveCursor, with the batch before the cursor. Index: connector_state_pkey.
-- Compare-and-set on version, 0 = there was no row. No row comes back: somebody else has moved it, and nothing may be committed.
-- Parameters: company, connector, stream, cursor (NULL leaves it), the version that was seen, whether records have come.
-- Fence: the caller's transaction.
with moved as (
    update public.connector_state as s
    set cursor = coalesce($4, s.cursor), version = s.version + 1, rows_ever = s.rows_ever or $6, updated_at = clock_timestamp()
    where s.company_id = $1 and s.connector_id = $2 and s.stream = $3 and s.version = $5
    returning s.version
),
made as (
    insert into public.connector_state (company_id, connector_id, stream, cursor, version, rows_ever)
    select $1, $2, $3, $4, 1, $6 where $5 = 0
    on conflict do nothing
    returning version
)
select version from moved union all select version from made
