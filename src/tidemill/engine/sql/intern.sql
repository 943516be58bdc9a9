-- Called by: Names, once per new name. Index: unique names. Parameters: kinds, queues.
select 'kind' as what, k as name, tidemill.intern_kind(k) as id from unnest($1::text[]) k
union all
select 'queue', q, tidemill.intern_queue(q) from unnest($2::text[]) q
