-- Called by: GET /records, inside tenant_session(): row security decides. Index: idx_synced_records_changed.
-- A page ends once its data is longer than 4 MB, for a record may be a megabyte; found is how many there were to show.
-- Fence: none, it reads. Parameters: connector, stream, changed since (null = ever), time and key of the last before, limit.
select connector_id, stream, key, data, version, first_seen_at, last_seen_at, changed_at, deleted_at, found
from (
    select r.*, count(*) over () as found, sum(octet_length(r.data)) over (order by r.changed_at, r.key) - octet_length(r.data) as before
    from (
        select connector_id, stream, key, data::text as data, version, first_seen_at, last_seen_at, changed_at, deleted_at
        from public.synced_records
        where connector_id = $1 and stream = $2 and ($3::timestamptz is null or changed_at >= $3)
          and ($4::timestamptz is null or (changed_at, key) > ($4, $5::text))
        order by changed_at, key
        limit $6
    ) as r
) as p
where p.before < 4194304
order by changed_at, key
