-- Called by: sweep, for those that a run left behind which was killed. Index: pg_database_datname_index.
-- Fence: none, it only looks. Parameters: what their names begin with.
select datname from pg_database where starts_with(datname, $1::text) order by datname
