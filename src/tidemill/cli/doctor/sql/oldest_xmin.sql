-- Called by: doctor. Index: none; small system views. What another role runs shows only to members of pg_read_all_stats.
-- Whoever holds the oldest snapshot for longer than the limit. Parameters: limit (interval).
select holder, age, fix from (
  select format('process %s (%s, %s)', pid, coalesce(nullif(application_name, ''), 'unnamed'), state) as holder,
    date_trunc('second', clock_timestamp() - xact_start) as age,
    format('end it: select pg_terminate_backend(%s)', pid) as fix
  from pg_stat_activity
  where (backend_xmin is not null or backend_xid is not null) and xact_start < clock_timestamp() - $1::interval
    and pid <> pg_backend_pid() and backend_type = 'client backend'
  union all
  select format('prepared transaction %L', gid), date_trunc('second', clock_timestamp() - prepared),
    format('end it: rollback prepared %L', gid)
  from pg_prepared_xacts where database = current_database() and prepared < clock_timestamp() - $1::interval
) holders
order by age desc limit 1
