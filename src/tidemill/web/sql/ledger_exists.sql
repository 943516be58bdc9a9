-- Whether the database has a ledger of migrations at all.
-- Called by: Readiness. Index: pg_class by name. Fence: none, it reads.
select to_regclass('tidemill.schema_migrations') is not null
