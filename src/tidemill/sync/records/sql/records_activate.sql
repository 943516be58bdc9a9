-- Called by: Ledger, when a full load is through: page by page what came with another version, or none, is deleted; 5,000 a page.
-- Parameters: company, connector, stream, the version, the last page's last key ('' at first). A page without keys is the last.
-- Index: synced_records_pkey in its order. Written where it was found, as in records_delete.sql. Fence: as there.
with page as materialized (
    select r.key, r.ctid as place from public.synced_records as r
    where r.company_id = $1 and r.connector_id = $2 and r.stream = $3 and r.key > $5
      and r.deleted_at is null and r.version is distinct from $4
    order by r.key
    limit 5000
),
deleted as (
    update public.synced_records as r set deleted_at = c.now, changed_at = c.now
    from (select tidemill.now() as now) as c
    where r.ctid = any (array(select p.place from page as p))
)
select count(*) as deleted, max(key) as last_key from page
