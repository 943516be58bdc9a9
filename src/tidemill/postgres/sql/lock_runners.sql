-- $1 the lock's number. Called by migrate.py: one runner at a time; freed when its connection closes.
select pg_advisory_lock($1)
