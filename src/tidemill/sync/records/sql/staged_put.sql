-- Called by: Ledger, page by page, when a stream without a key has come to a cursor or to its end; 5,000 records a page.
-- Parameters: company, connector, stream, run, the last page's last digest, ordinal and number (NULL at first), mode, how many keys
-- to name. A record's key is its digest and its number among equal ones. Modes, wrapping and fence: as in records_put.sql.
-- Index: staged_record_pkey in its order, synced_records_pkey.
with clock as materialized (
    select tidemill.now() as now
),
page as materialized (
    select s.hash, s.ordinal, s.data, s.version from tidemill.staged_record as s
    where s.run = $4 and s.stream = $3 and (s.hash, s.ordinal) > (coalesce($5::bytea, ''), coalesce($6::bigint, -1))
    order by s.hash, s.ordinal
    limit 5000
),
numbered as materialized (
    select p.*, row_number() over (partition by p.hash order by p.ordinal) - 1
                + case when p.hash = $5 then $7::bigint + 1 else 0 end as number
    from page as p
),
given as materialized (
    select encode(n.hash, 'hex') || ':' || n.number as key, n.data, n.hash, n.version from numbered as n
),
before as materialized (
    select r.key, r.hash, r.live from given as g cross join lateral (
        select r.key, r.hash, r.deleted_at is null as live from public.synced_records as r
        where r.company_id = $1 and r.connector_id = $2 and r.stream = $3 and r.key >= g.key
        order by r.key limit 1
    ) as r
    where r.key = g.key
),
judged as materialized (
    select g.key, g.data, g.hash, g.version, (g.key in (select b.key from before as b)) is true as known,
           ((g.key, g.hash) in (select b.key, b.hash from before as b where b.live)) is true as same
    from given as g
),
written as (
    insert into public.synced_records as r
        (company_id, connector_id, stream, key, data, hash, version, first_seen_at, last_seen_at, changed_at)
    select $1, $2, $3, j.key, j.data, j.hash, j.version, c.now, c.now, c.now
    from judged as j cross join clock as c
    where $8 = 'upsert' or ($8 = 'fill' and not j.known)
    order by j.key
    on conflict (company_id, connector_id, stream, key) do update
    set data = case when r.hash = excluded.hash then r.data else excluded.data end,
        hash = excluded.hash,
        version = coalesce(excluded.version, r.version),
        last_seen_at = excluded.last_seen_at,
        changed_at = case when r.hash = excluded.hash and r.deleted_at is null then r.changed_at else excluded.changed_at end,
        deleted_at = null
)
select count(*) as records, count(*) filter (where not known) as added, count(*) filter (where known and not same) as changed,
       (array_agg(key order by key) filter (where not known))[1:$9] as added_keys,
       (array_agg(key order by key) filter (where known and not same))[1:$9] as changed_keys,
       (select n.hash from numbered as n order by n.hash desc, n.ordinal desc limit 1) as last_hash,
       (select n.ordinal from numbered as n order by n.hash desc, n.ordinal desc limit 1) as last_ordinal,
       (select n.number from numbered as n order by n.hash desc, n.ordinal desc limit 1) as last_number
from judged
