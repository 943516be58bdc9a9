-- Called by: overview. Index: none; the catalogue. Fence: none, it only looks. Parameters: none.
-- How far from now the partitions of each table reach without a gap; below nothing, rows go to the DEFAULT partition.
-- History is cut by the real clock, all else by Tidemill's.
with recursive part as materialized (
  select i.inhparent as parent,
    (regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('([^']+)'\) TO$$))[1]::timestamptz as starts_at,
    (regexp_match(pg_get_expr(c.relpartbound, c.oid), $$TO \('([^']+)'\)$$))[1]::timestamptz as ends_at
  from pg_partitioned_table p join pg_class t on t.oid = p.partrelid
  join pg_inherits i on i.inhparent = t.oid join pg_class c on c.oid = i.inhrelid
  where p.partstrat = 'r' and exists (
    select from pg_class d where d.oid = p.partdefid and d.relnamespace = 'tidemill'::regnamespace)
), clock as materialized (
  select clock_timestamp() as real, tidemill.now() as ours
), reach (parent, now, until) as (
  select p.parent, case p.parent when 'tidemill.job_run'::regclass then clock.real else clock.ours end as now, p.ends_at
  from part p cross join clock
  where p.starts_at <= case p.parent when 'tidemill.job_run'::regclass then clock.real else clock.ours end
    and p.ends_at > case p.parent when 'tidemill.job_run'::regclass then clock.real else clock.ours end
  union all
  select r.parent, r.now, p.ends_at from reach r join part p on p.parent = r.parent and p.starts_at = r.until
)
select t.relname as name, coalesce(extract(epoch from max(r.until) - max(r.now)), 0)::float8 as ahead_s
from (select distinct partrelid as oid from pg_partitioned_table p join pg_class d on d.oid = p.partdefid
      where d.relnamespace = 'tidemill'::regnamespace) p
join pg_class t on t.oid = p.oid
left join reach r on r.parent = p.oid
group by t.relname order by 1
