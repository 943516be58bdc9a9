-- The versions of the migrations that this database has.
-- Called by: Readiness. Index: none needed, a few dozen rows. Fence: none, it reads.
select version from tidemill.schema_migrations
