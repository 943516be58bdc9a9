-- Called by: RepairRecords, page by page, 2,000 a page: records whose digest is not that of their data.
-- The digest is brought in line with the data, so that the provider's word, when it comes again, counts as a change.
-- Index: synced_records_pkey in its order. Parameters: company, connector, stream, the last page's last key ('' at first), whether to
-- mend, how many to name. A page without a last key is past the end. Mended where it was found, as in records_delete.sql; fence: as there.
with page as materialized (
    select r.key, r.ctid as place, r.hash, sha256(convert_to(r.data::text, 'UTF8')) as digest
    from public.synced_records as r
    where r.company_id = $1 and r.connector_id = $2 and r.stream = $3 and r.key > $4
    order by r.key
    limit 2000
),
wrong as materialized (
    select p.key, p.place from page as p where p.hash <> p.digest
),
mended as (
    update public.synced_records as r
    set hash = sha256(convert_to(r.data::text, 'UTF8')), changed_at = c.now
    from (select tidemill.now() as now) as c
    where r.ctid = any (array(select w.place from wrong as w)) and $5
)
select (select max(p.key) from page as p) as last_key, count(*) as count, (array_agg(w.key order by w.key))[1:$6] as keys
from wrong as w
