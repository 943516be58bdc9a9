-- Called by: doctor. Index: none; small system views. What another role runs shows only to members of pg_read_all_stats.
-- Whoever keeps vacuum from removing what was deleted since: the one that holds the most transactions back first.
-- Sessions and prepared transactions count by their age; slots and standbys have none, so they count by transactions.
-- Parameters: limit (interval), limit (transactions).
select holder, held, xids, fix from (
  select format('process %s (%s of %s, %s)', pid, coalesce(nullif(application_name, ''), 'unnamed'), usename, state) as holder,
    date_trunc('second', clock_timestamp() - xact_start) as held,
    greatest(age(backend_xmin), age(backend_xid)) as xids,
    format('end it: select pg_terminate_backend(%s)', pid) as fix
  from pg_stat_activity
  where (backend_xmin is not null or backend_xid is not null) and xact_start < clock_timestamp() - $1::interval
    and pid <> pg_backend_pid() and backend_type = 'client backend'
  union all
  select format('prepared transaction %L of %s', gid, owner), date_trunc('second', clock_timestamp() - prepared),
    age(transaction), format('commit or end it, in database %s: rollback prepared %L', database, gid)
  from pg_prepared_xacts where prepared < clock_timestamp() - $1::interval
  union all
  select format('replication slot %s (%s)', slot_name, case when active then 'in use' else 'nobody reads it' end), null,
    greatest(age(xmin), age(catalog_xmin)),
    format('let its reader catch up or, if it has none: select pg_drop_replication_slot(%L)', slot_name)
  from pg_replication_slots where greatest(age(xmin), age(catalog_xmin)) > $2::int
  union all
  select format('standby %s', coalesce(nullif(application_name, ''), host(client_addr))), null, age(backend_xmin),
    'end long queries on the standby, or turn hot_standby_feedback off there'
  from pg_stat_replication where age(backend_xmin) > $2::int
) holders
order by xids desc nulls last limit 1
