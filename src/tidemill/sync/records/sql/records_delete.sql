-- Called by: Ledger, for what the provider has no more; at most 5,000 keys. Deleted records stay, marked.
-- Parameters: company, connector, stream, keys. Index: synced_records_pkey.
-- Each key is looked up by itself, as in records_put.sql, and what was found is written where it lies.
-- Fence: the caller's transaction; one lease a connector, so nobody else writes.
with found as materialized (
    select r.place from unnest($4::text[]) as k (key) cross join lateral (
        select r.key, r.ctid as place, r.deleted_at from public.synced_records as r
        where r.company_id = $1 and r.connector_id = $2 and r.stream = $3 and r.key >= k.key
        order by r.key limit 1
    ) as r
    where r.key = k.key and r.deleted_at is null
),
deleted as (
    update public.synced_records as r set deleted_at = c.now, changed_at = c.now
    from (select tidemill.now() as now) as c
    where r.ctid = any (array(select f.place from found as f))
    returning r.key
)
select count(*) from deleted
