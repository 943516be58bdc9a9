-- Called by: RepairRecords: the streams of which there are records or a cursor. Index: synced_records_pkey, one probe a stream.
-- Parameters: company, connector.
with recursive recorded as (
    (select r.stream from public.synced_records as r where r.company_id = $1 and r.connector_id = $2 order by r.stream limit 1)
    union all
    select (select r.stream from public.synced_records as r
            where r.company_id = $1 and r.connector_id = $2 and r.stream > p.stream order by r.stream limit 1)
    from recorded as p where p.stream is not null
)
select coalesce(p.stream, s.stream) as stream, p.stream is not null as has_records, s.cursor is not null as has_cursor,
       coalesce(s.rows_ever, false) as rows_ever, coalesce(s.version, 0) as version
from (select stream from recorded where stream is not null) as p
full join (select * from public.connector_state where company_id = $1 and connector_id = $2) as s on s.stream = p.stream
order by 1
