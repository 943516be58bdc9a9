-- Called by: Ledger, for each chunk of a batch of a stream without a key; at most 5,000 records.
-- Parameters: run, stream, records (JSON), ordinal of the first, version. Index: none. Fence: the caller's transaction.
with parsed as materialized (
    select t.data::jsonb as data, t.n from unnest($3::text[]) with ordinality as t (data, n)
)
insert into tidemill.staged_record (run, stream, hash, ordinal, data, version)
select $1, $2, sha256(convert_to(p.data::text, 'UTF8')), $4 + p.n - 1, p.data, $5::bigint from parsed as p
