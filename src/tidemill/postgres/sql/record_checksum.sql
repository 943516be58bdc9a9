-- $1 version, $2 sha256 (hex). Called by migrate.py in the migration's own transaction, after the file recorded itself;
-- no row means that it did not. Index: the ledger's primary key. Fence: the runners' advisory lock.
update tidemill.schema_migrations set sha256 = $2 where version = $1 returning true
