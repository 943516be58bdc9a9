-- Called by: Ledger, for what the provider has no more; at most 5,000 keys. Deleted records stay, marked.
-- Parameters: company, connector, stream, keys. Index: synced_records_pkey. Fence: the caller's transaction.
with deleted as (
    update public.synced_records as r set deleted_at = c.now, changed_at = c.now
    from (select tidemill.now() as now) as c
    where r.company_id = $1 and r.connector_id = $2 and r.stream = $3 and r.key = any ($4) and r.deleted_at is null
    returning r.key
)
select count(*) from deleted
