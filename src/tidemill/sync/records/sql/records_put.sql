-- Called by: Ledger, for each chunk of a batch of a stream with a key; at most 5,000 records, no key twice.
-- Parameters: company, connector, stream, keys and records (JSON) side by side, version, mode, how many keys to name.
-- Modes: upsert; fill leaves alone what is there, deleted or not; compare writes nothing and tells what upsert would do.
-- Index: synced_records_pkey, for what was there and for the conflict. A digest decides what changed; jsonb's own text is the
-- canonical form, so that repair can take it again from what is stored.
-- Wrapped against the planner's guesses, as in layers/sql/post_metrics_write.sql: "(x in (…)) is true" is left to a hash table at any
-- size, a join of two lists of unknown length is not. Each key is looked up by itself and in its order, which one index alone has:
-- for many keys in one condition some planners read the stream, and for "=" they may take an index that has the key last.
-- Fence: the caller's transaction; one lease a connector, so nobody else writes.
with clock as materialized (
    select tidemill.now() as now
),
parsed as materialized (
    select t.key, t.data::jsonb as data from unnest($4::text[], $5::text[]) as t (key, data)
),
given as materialized (
    select p.key, p.data, sha256(convert_to(p.data::text, 'UTF8')) as hash from parsed as p
),
before as materialized (
    select r.key, r.hash, r.live from parsed as p cross join lateral (
        select r.key, r.hash, r.deleted_at is null as live from public.synced_records as r
        where r.company_id = $1 and r.connector_id = $2 and r.stream = $3 and r.key >= p.key
        order by r.key limit 1
    ) as r
    where r.key = p.key
),
judged as materialized (
    select g.key, g.data, g.hash, (g.key in (select b.key from before as b)) is true as known,
           ((g.key, g.hash) in (select b.key, b.hash from before as b where b.live)) is true as same
    from given as g
),
written as (
    insert into public.synced_records as r
        (company_id, connector_id, stream, key, data, hash, version, first_seen_at, last_seen_at, changed_at)
    select $1, $2, $3, j.key, j.data, j.hash, $6::bigint, c.now, c.now, c.now
    from judged as j cross join clock as c
    where $7 = 'upsert' or ($7 = 'fill' and not j.known)
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
       (array_agg(key order by key) filter (where not known))[1:$8] as added_keys,
       (array_agg(key order by key) filter (where known and not same))[1:$8] as changed_keys
from judged
