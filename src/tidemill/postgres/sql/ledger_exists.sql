-- Whether this database has ever been migrated. Called by migrate.py before it reads the ledger.
select to_regclass('tidemill.schema_migrations') is not null
