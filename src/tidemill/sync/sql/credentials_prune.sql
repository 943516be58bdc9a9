-- Called by: LogRetention, again and again while there is more to delete: secrets of connectors of which two newer versions are kept.
-- Index: idx_connector_credentials_company_id, two of its entries for each row of the table, once an hour.
-- Fence: inside the job's fenced transaction. Parameters: most rows.
with gone as (
  delete from public.connector_credentials where ctid = any (array(
    select c.ctid from public.connector_credentials c
    where exists (
      select from public.connector_credentials n
      where n.company_id = c.company_id and n.connector_id = c.connector_id and n.version > c.version offset 1)
    limit $1 for update skip locked))
  returning 1
)
select count(*)::int as connector_credentials from gone
