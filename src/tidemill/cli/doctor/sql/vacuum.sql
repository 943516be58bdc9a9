-- Called by: doctor. Index: none; statistics of some dozen tables. Parameters: least dead rows that count.
-- Tables of the engine with many more dead rows than what starts autovacuum (their own settings, else the server's), so that it
-- does not keep up or cannot remove them; and those for which it is turned off.
with option as (
  select c.oid, o.option_name as name, o.option_value as value
  from pg_class c cross join lateral pg_options_to_table(c.reloptions) o
  where c.relnamespace = 'tidemill'::regnamespace
)
select s.relid::regclass::text as name, s.n_dead_tup as dead, s.n_live_tup as live, t.starts_at,
  greatest(s.last_vacuum, s.last_autovacuum) as last_vacuum,
  coalesce((select not value::bool from option o where o.oid = s.relid and o.name = 'autovacuum_enabled'), false) as is_off
from pg_stat_user_tables s join pg_class c on c.oid = s.relid
cross join lateral (
  select coalesce((select value from option o where o.oid = s.relid and o.name = 'autovacuum_vacuum_threshold'),
      current_setting('autovacuum_vacuum_threshold'))::float8
    + coalesce((select value from option o where o.oid = s.relid and o.name = 'autovacuum_vacuum_scale_factor'),
      current_setting('autovacuum_vacuum_scale_factor'))::float8 * greatest(c.reltuples, 0) as starts_at
) t
where s.schemaname = 'tidemill'
  and (s.n_dead_tup > greatest(5 * t.starts_at, $1::bigint)
    or exists (select from option o where o.oid = s.relid and o.name = 'autovacuum_enabled' and not o.value::bool))
order by s.n_dead_tup desc
