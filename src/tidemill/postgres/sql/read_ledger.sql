-- Every migration recorded, whoever applied it. Called by migrate.py; a whole scan of some tens of rows.
select version, sha256 from tidemill.schema_migrations order by version
