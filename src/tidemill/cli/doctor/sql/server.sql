-- Called by: doctor. Index: none; settings of this session. Parameters: none.
select pg_is_in_recovery() as is_standby, current_setting('default_transaction_read_only')::bool as is_read_only,
  current_setting('default_transaction_isolation') as isolation, current_setting('jit')::bool as jit,
  current_setting('autovacuum')::bool as autovacuum, current_setting('track_counts')::bool as track_counts,
  extract(epoch from current_setting('statement_timeout')::interval)::float8 as statement_timeout_s,
  current_user as role, current_database() as database
